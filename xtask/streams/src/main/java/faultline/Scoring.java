package faultline;

import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;

/** One event: late or not, into the windows of its user, scored, decided, told. */
final class Scoring implements Processor<byte[], Event, byte[], byte[]> {
    static final String RESULTS = "results";
    static final String ALERTS = "alerts";
    static final String DEAD_LETTERS = "dead-letter";
    static final String LATE = "late";

    private static final long ALLOWED_LATENESS_MS = 30_000;
    private static final long QUIET_PERIOD_MS = 600_000;
    /** warning, major, critical: one in 1,500, 20,000, 1,000,000. */
    private static final double[] SEVERITIES = {Math.log10(1_500), Math.log10(20_000), 6};
    private static final byte[] PIPELINE = QuickstartOnStreams.utf8("default/card-payments");

    private final KeyState state = new KeyState();
    private final Judged judged = new Judged();
    private final Payloads payloads = new Payloads();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> keys;

    /** What is said about one event. */
    static final class Judged {
        double surprise;
        double amountSurprise;
        double activitySurprise;
        /** 0 is none. */
        int severity;
        long learned;
        double hourSine;
        double hourCosine;
        double mean20;
        double ratio;
        int payments5m;
        int declined1h;
        double expectedHigh;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        this.keys = context.getStateStore(QuickstartOnStreams.STORE);
    }

    @Override
    public void process(Record<byte[], Event> record) {
        Event event = record.value();
        if (event.problem != null) {
            forward(record.key(), event.raw, record.timestamp(), DEAD_LETTERS);
            return;
        }
        if (event.timeMs < context.currentStreamTimeMs() - ALLOWED_LATENESS_MS) {
            forward(record.key(), event.raw, record.timestamp(), LATE);
            return;
        }
        byte[] key = QuickstartOnStreams.utf8(event.user);
        state.read(keys.get(key));
        score(event);
        boolean alert = decide(event.timeMs);
        keys.put(key, state.write());

        forward(key, payloads.result(event, judged), record.timestamp(), RESULTS);
        if (alert) {
            forward(key, payloads.alert(event, judged), record.timestamp(), ALERTS);
        }
    }

    private void score(Event event) {
        state.timeMs = Math.max(state.timeMs, event.timeMs);
        state.push(event.amount);
        state.payments5m.advance(state.timeMs);
        state.payments5m.add(event.timeMs);
        state.declined1h.advance(state.timeMs);
        if (event.declined) {
            state.declined1h.add(event.timeMs);
        }
        judged.mean20 = state.meanOfLast();
        judged.ratio = event.amount / judged.mean20;
        judged.payments5m = state.payments5m.total();
        judged.declined1h = state.declined1h.total();
        judged.learned = state.amounts.learned();
        judged.amountSurprise = state.amounts.fold(event.amount, state.timeMs);
        judged.activitySurprise = state.activity.fold(state.timeMs);
        judged.expectedHigh = state.amounts.expectedHigh;
        judged.surprise = Math.max(judged.amountSurprise, judged.activitySurprise);
        judged.severity = 0;
        while (judged.severity < SEVERITIES.length && judged.surprise >= SEVERITIES[judged.severity]) {
            judged.severity++;
        }
    }

    /** One alert when an incident opens and one when it gets worse; it ends after a quiet period. */
    private boolean decide(long timeMs) {
        if (timeMs > state.incidentEndsMs) {
            state.incidentSeverity = 0;
        }
        if (judged.severity == 0) {
            return false;
        }
        state.incidentEndsMs = timeMs + QUIET_PERIOD_MS;
        boolean worse = judged.severity > state.incidentSeverity;
        state.incidentSeverity = Math.max(state.incidentSeverity, judged.severity);
        return worse;
    }

    /** With the headers of the product: which record of the source, which pipeline. */
    private void forward(byte[] key, byte[] value, long timestamp, String output) {
        RecordMetadata source = context.recordMetadata().orElseThrow();
        Headers headers = new RecordHeaders();
        headers.add("faultline-source",
            QuickstartOnStreams.utf8(source.topic() + '-' + source.partition() + '-' + source.offset()));
        headers.add("faultline-pipeline", PIPELINE);
        context.forward(new Record<>(key, value, timestamp, headers), output);
    }
}
