package faultline;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.io.SerializedString;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.time.LocalDate;

/** Results and alerts with the members and about the size of the product's. */
final class Payloads {
    private static final JsonFactory JSON =
        JsonFactory.builder().enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER).build();
    private static final String[] SEVERITIES = {null, "warning", "major", "critical"};

    private static final SerializedString EVENT_ID = new SerializedString("eventId");
    private static final SerializedString KEY = new SerializedString("key");
    private static final SerializedString TIMESTAMP = new SerializedString("timestamp");
    private static final SerializedString SURPRISE = new SerializedString("surprise");
    private static final SerializedString SEVERITY = new SerializedString("severity");
    private static final SerializedString MUTED = new SerializedString("muted");
    private static final SerializedString MATURITY = new SerializedString("maturity");
    private static final SerializedString MODELS = new SerializedString("models");
    private static final SerializedString NAME = new SerializedString("name");
    private static final SerializedString REVISION = new SerializedString("revision");
    private static final SerializedString ROLE = new SerializedString("role");
    private static final SerializedString DEGRADED = new SerializedString("degraded");
    private static final SerializedString STABLE = new SerializedString("stable");
    private static final SerializedString AMOUNT = new SerializedString("amount");
    private static final SerializedString ACTIVITY = new SerializedString("activity");
    private static final SerializedString AMOUNT_REVISION = new SerializedString("3f1c5a9e27b04d68");
    private static final SerializedString ACTIVITY_REVISION = new SerializedString("b86e02d9417fa35c");

    private final ByteArrayOutputStream out = new ByteArrayOutputStream(2_048);
    private final Timestamps timestamps = new Timestamps();

    byte[] result(Event event, Scoring.Judged judged) {
        out.reset();
        try (JsonGenerator json = JSON.createGenerator(out)) {
            json.writeStartObject();
            json.writeFieldName(EVENT_ID);
            json.writeString(event.id);
            json.writeFieldName(KEY);
            json.writeString(event.user);
            json.writeFieldName(TIMESTAMP);
            json.writeRawValue(timestamps.text(event.timeMs), 0, Timestamps.LENGTH);
            number(json, SURPRISE, judged.surprise);
            json.writeFieldName(SEVERITY);
            json.writeString(SEVERITIES[judged.severity]);
            json.writeFieldName(MUTED);
            json.writeBoolean(false);
            json.writeFieldName(MATURITY);
            json.writeString(judged.learned < 10 ? "cold" : judged.learned < 100 ? "warming" : "mature");
            json.writeFieldName(MODELS);
            json.writeStartArray();
            model(json, AMOUNT, AMOUNT_REVISION, judged.amountSurprise);
            model(json, ACTIVITY, ACTIVITY_REVISION, judged.activitySurprise);
            json.writeEndArray();
            if (judged.severity > 0) {
                features(json, event, judged);
            }
            json.writeFieldName(DEGRADED);
            json.writeBoolean(false);
            json.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return out.toByteArray();
    }

    byte[] alert(Event event, Scoring.Judged judged) {
        out.reset();
        try (JsonGenerator json = JSON.createGenerator(out)) {
            json.writeStartObject();
            json.writeStringField("alertId", event.id);
            json.writeStringField("state", "opened");
            json.writeStringField("severity", SEVERITIES[judged.severity]);
            json.writeStringField("key", event.user);
            json.writeStringField("timestamp", Instant.ofEpochMilli(event.timeMs).toString());
            json.writeNumberField("peak", judged.surprise);
            json.writeStringField("summary", "amount " + event.amount + "; usually at most " + judged.expectedHigh);
            features(json, event, judged);
            json.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return out.toByteArray();
    }

    private static void model(JsonGenerator json, SerializedString name, SerializedString revision, double surprise)
        throws IOException {
        json.writeStartObject();
        json.writeFieldName(NAME);
        json.writeString(name);
        json.writeFieldName(REVISION);
        json.writeString(revision);
        json.writeFieldName(ROLE);
        json.writeString(STABLE);
        number(json, SURPRISE, surprise);
        json.writeEndObject();
    }

    private static void features(JsonGenerator json, Event event, Scoring.Judged judged) throws IOException {
        json.writeObjectFieldStart("features");
        json.writeNumberField("amount", event.amount);
        json.writeNumberField("mean_20", judged.mean20);
        json.writeNumberField("ratio", judged.ratio);
        json.writeNumberField("payments_5m", judged.payments5m);
        json.writeNumberField("declined_1h", judged.declined1h);
        json.writeEndObject();
        json.writeArrayFieldStart("explanation");
        json.writeStartObject();
        json.writeStringField("feature", judged.amountSurprise >= judged.activitySurprise ? "amount" : "events");
        json.writeNumberField("value", event.amount);
        json.writeNumberField("expected", judged.expectedHigh);
        json.writeNumberField("contribution", 1);
        json.writeEndObject();
        json.writeEndArray();
    }

    private static void number(JsonGenerator json, SerializedString name, double value) throws IOException {
        json.writeFieldName(name);
        json.writeNumber(value);
    }

    /** RFC 3339 by its digits: the date of a day is made once, java.time would take as long as the windows. */
    private static final class Timestamps {
        static final int LENGTH = 26;
        private static final long DAY_MS = 86_400_000;
        private final char[] text = "\"0000-00-00T00:00:00.000Z\"".toCharArray();
        private long day = Long.MIN_VALUE;

        char[] text(long timeMs) {
            if (timeMs / DAY_MS != day) {
                day = timeMs / DAY_MS;
                LocalDate.ofEpochDay(day).toString().getChars(0, 10, text, 1);
            }
            int ofDay = (int) (timeMs % DAY_MS);
            put(12, ofDay / 3_600_000);
            put(15, ofDay / 60_000 % 60);
            put(18, ofDay / 1_000 % 60);
            put(21, ofDay / 10 % 100);
            text[23] = (char) ('0' + ofDay % 10);
            return text;
        }

        private void put(int at, int twoDigits) {
            text[at] = (char) ('0' + twoDigits / 10);
            text[at + 1] = (char) ('0' + twoDigits % 10);
        }
    }
}
