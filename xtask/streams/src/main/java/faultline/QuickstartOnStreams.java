package faultline;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.AutoOffsetReset;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.state.Stores;

/**
 * The pipeline of examples/quickstart on Kafka Streams: the yardstick of `cargo xtask bench`.
 *
 * <pre>
 * events ──► score ──► results · alerts · dead letters · late
 *              │
 *              └ store "keys" with its changelog: one image per user
 * </pre>
 *
 * It uses the Processor API with one store, as one would who wants Kafka Streams to be fast: the DSL's windows would
 * cost a store entry per window and event. It is told everything by its arguments:
 * brokers, input topic, identity (group and prefix of the output topics), `memory` or `rocksdb`, folder of the state,
 * and then any settings as `name=value` that are to differ.
 */
public final class QuickstartOnStreams {
    static final String STORE = "keys";

    private QuickstartOnStreams() {}

    public static void main(String[] arguments) {
        if (arguments.length < 5) {
            System.err.println("usage: <brokers> <input> <identity> memory|rocksdb <folder> [name=value …]");
            System.exit(64);
        }
        Properties settings = settings(arguments[0], arguments[2], arguments[4]);
        for (int at = 5; at < arguments.length; at++) {
            String[] pair = arguments[at].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        boolean inMemory = arguments[3].equals("memory");
        KafkaStreams streams = new KafkaStreams(topology(arguments[1], arguments[2], inMemory), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            // Whoever measures must see that it is gone, not wait for a group without members.
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        // With static members only this makes a clean stop leave the group at once, as the product's does.
        KafkaStreams.CloseOptions leaving =
            new KafkaStreams.CloseOptions().leaveGroup(true).timeout(Duration.ofSeconds(30));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(leaving)));
        streams.start();
    }

    private static Properties settings(String brokers, String identity, String folder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, identity);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);

        // Equal to the product: the guarantee, the commit interval, the compression, the threads (one per core).
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 10);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "snappy");
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG), 10);
        // The changelog is cleaned as the product cleans its state topic, so that there is not more to restore.
        settings.put(StreamsConfig.topicPrefix(TopicConfig.SEGMENT_BYTES_CONFIG), 64 << 20);
        settings.put(StreamsConfig.topicPrefix(TopicConfig.SEGMENT_MS_CONFIG), 600_000);
        settings.put(StreamsConfig.topicPrefix(TopicConfig.MIN_CLEANABLE_DIRTY_RATIO_CONFIG), 0.2);

        // The cache holds the images of all users that are busy: reads seldom reach the store, and a user that comes
        // several times within a commit is written once.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
        // A thread that waits for records must not sleep over its commit.
        settings.put(StreamsConfig.POLL_MS_CONFIG, 5);
        // Large batches in, large batches out. A commit flushes, so lingering never delays a result beyond it.
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 512 << 10);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        // A transaction that begins while the last one's markers are still being written is told to come again: soon.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.RETRY_BACKOFF_MS_CONFIG), 10);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.RETRY_BACKOFF_MAX_MS_CONFIG), 20);
        // Restoring reads in large pieces.
        settings.put(StreamsConfig.restoreConsumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 20_000);
        settings.put(StreamsConfig.restoreConsumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 8 << 20);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.RECEIVE_BUFFER_CONFIG), 1 << 20);
        // Static members: a restart finds its assignment again without waiting.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG), "one");
        // Costs nothing and is of no use here.
        settings.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);
        return settings;
    }

    private static Topology topology(String input, String identity, boolean inMemory) {
        var supplier = inMemory ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE);
        var store = Stores.keyValueStoreBuilder(supplier, Serdes.ByteArray(), Serdes.ByteArray())
            .withCachingEnabled()
            .withLoggingEnabled(Map.of());
        var bytes = new ByteArraySerializer();
        Topology topology = new Topology();
        topology.addSource(
            AutoOffsetReset.earliest(), "events",
            (record, partitionTime) -> ((Event) record.value()).timeOr(partitionTime),
            new ByteArrayDeserializer(), new Event.Parser(), input);
        topology.addProcessor("score", Scoring::new, "events");
        topology.addStateStore(store, "score");
        for (String output : new String[] {Scoring.RESULTS, Scoring.ALERTS, Scoring.DEAD_LETTERS, Scoring.LATE}) {
            topology.addSink(output, identity + "." + output, bytes, bytes, (StreamPartitioner<byte[], byte[]>)
                QuickstartOnStreams::sameAsInput, "score");
        }
        return topology;
    }

    /** The input is partitioned by the number of the user; results stay in the partition of their event. */
    private static Optional<Set<Integer>> sameAsInput(String topic, byte[] key, byte[] value, int partitions) {
        if (key == null) {
            return Optional.empty();
        }
        int number = 0;
        for (byte digit : key) {
            number = digit >= '0' && digit <= '9' ? number * 10 + digit - '0' : 0;
        }
        return Optional.of(Set.of(number % partitions));
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
