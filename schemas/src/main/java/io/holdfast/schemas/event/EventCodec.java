package io.holdfast.schemas.event;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.kafka.KafkaMessageFactory;
import io.cloudevents.rw.CloudEventRWException;
import java.net.URI;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Headers;

/** Between records and CloudEvents 1.0 in Kafka binary content mode. Thread-safe. */
public final class EventCodec {
    private static final ObjectMapper JSON = JsonMapper.builder()
            .addModule(new JavaTimeModule())
            .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
            .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .defaultPropertyInclusion(
                    JsonInclude.Value.construct(JsonInclude.Include.NON_NULL, JsonInclude.Include.ALWAYS))
            .build();

    private EventCodec() {}

    /** The one JSON mapper for the contract's records. */
    public static ObjectMapper json() {
        return JSON;
    }

    /**
     * Encodes a record.
     *
     * @param id the event's id, deterministic where the sender may repeat it
     * @param source the sender, such as {@code /holdfast/coordinator}
     * @param subject what it is about (an operation id), or null
     * @param data a record of {@link EventType}
     * @param extensions CloudEvents extension attributes such as {@code traceparent}; lower-case names
     */
    public static CloudEvent encode(
            String id, URI source, String subject, Object data, Instant time, Map<String, String> extensions) {
        try {
            var b = CloudEventBuilder.v1()
                    .withId(id)
                    .withSource(source)
                    .withSubject(subject)
                    .withTime(time.atOffset(ZoneOffset.UTC))
                    .withType(EventType.of(data).typeName())
                    .withData("application/json", JSON.writeValueAsBytes(data));
            extensions.forEach(b::withExtension);
            return b.build();
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("cannot encode " + data.getClass(), e);
        }
    }

    /** The Kafka record of an event, binary content mode. */
    public static ProducerRecord<String, byte[]> record(String topic, String key, CloudEvent event) {
        return KafkaMessageFactory.<String>createWriter(
                        topic, null, event.getTime().toInstant().toEpochMilli(), key)
                .writeBinary(event);
    }

    /**
     * Reads the CloudEvent of a Kafka record, binary or structured.
     *
     * @throws InvalidEventException if it is none
     */
    public static CloudEvent read(Headers headers, byte[] value) throws InvalidEventException {
        try {
            return KafkaMessageFactory.createReader(headers, value).toEvent();
        } catch (CloudEventRWException | IllegalArgumentException | IllegalStateException | NullPointerException e) {
            throw new InvalidEventException(List.of(new Problem(
                    ErrorCode.INVALID_EVENT,
                    "",
                    "not a CloudEvent: " + e.getMessage(),
                    "set the headers ce_specversion, ce_id, ce_source, ce_type and content-type")));
        }
    }

    /**
     * Decodes the data of an event of a known type.
     *
     * @throws InvalidEventException if the type is unknown or the data does not fit it
     */
    public static Object decode(CloudEvent event) throws InvalidEventException {
        EventType type = EventType.named(event.getType())
                .orElseThrow(() -> new InvalidEventException(List.of(new Problem(
                        ErrorCode.INVALID_EVENT,
                        "/type",
                        "unknown type " + event.getType(),
                        "use one of the types in docs/protocol.md"))));
        if (event.getData() == null) {
            throw new InvalidEventException(
                    List.of(new Problem(ErrorCode.INVALID_EVENT, "", "the event has no data", "send JSON data")));
        }
        try {
            return JSON.readValue(event.getData().toBytes(), type.dataClass());
        } catch (java.io.IOException e) {
            throw new InvalidEventException(List.of(new Problem(
                    ErrorCode.INVALID_EVENT, "", String.valueOf(e.getMessage()), "see schemas/ for the type")));
        }
    }
}
