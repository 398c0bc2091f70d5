package faultline;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import org.apache.kafka.common.serialization.Deserializer;

/** A card payment, or the reason why a record is none. */
final class Event {
    String id;
    String user;
    long timeMs;
    double amount = Double.NaN;
    boolean declined;
    /** What is wrong with the record, if anything is. */
    String problem;
    /** The record's value: dead letters and late records go out byte for byte. */
    byte[] raw;

    /** A record without a time of its own does not move the stream's. */
    long timeOr(long partitionTime) {
        return problem == null ? timeMs : Math.max(partitionTime, 0);
    }

    /** Reads the whole record, once, and keeps what the features need. */
    static final class Parser implements Deserializer<Event> {
        private static final JsonFactory JSON =
            JsonFactory.builder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();

        @Override
        public Event deserialize(String topic, byte[] bytes) {
            Event event = new Event();
            event.raw = bytes;
            if (bytes == null) {
                return event.unfit("expected a JSON object, found a null value");
            }
            try (JsonParser json = JSON.createParser(bytes)) {
                event.read(json);
            } catch (IOException error) {
                return event.unfit("expected one JSON object: " + error.getMessage());
            }
            boolean identified = event.id != null && event.user != null && !event.user.isEmpty();
            if (!identified || event.timeMs <= 0 || Double.isNaN(event.amount)) {
                return event.unfit("expected an id, a user, a timestamp and an amount");
            }
            return event;
        }
    }

    private void read(JsonParser json) throws IOException {
        if (json.nextToken() != JsonToken.START_OBJECT) {
            throw new IOException("not an object");
        }
        String name;
        while ((name = json.nextFieldName()) != null) {
            JsonToken value = json.nextToken();
            switch (name) {
                case "eventId" -> id = value == JsonToken.VALUE_STRING ? json.getText() : null;
                case "userId" -> user = value == JsonToken.VALUE_STRING ? json.getText() : null;
                case "timestamp" -> timeMs = value == JsonToken.VALUE_NUMBER_INT ? json.getLongValue() : 0;
                case "amount" -> amount = value.isNumeric() ? json.getDoubleValue() : Double.NaN;
                case "status" ->
                    declined = value == JsonToken.VALUE_STRING && json.getText().equals("declined");
                default -> json.skipChildren();
            }
        }
        if (json.nextToken() != null) {
            throw new IOException("something follows the object");
        }
    }

    private Event unfit(String why) {
        problem = why;
        return this;
    }
}
