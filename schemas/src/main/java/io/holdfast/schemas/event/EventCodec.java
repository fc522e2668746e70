package io.holdfast.schemas.event;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import io.cloudevents.CloudEvent;
import io.cloudevents.SpecVersion;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.kafka.KafkaMessageFactory;
import io.holdfast.schemas.spec.Names;
import java.io.IOException;
import java.net.URI;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Headers;

/**
 * Between records and CloudEvents 1.0 in Kafka binary content mode
 * (github.com/cloudevents/spec, kafka-protocol-binding.md). Thread-safe.
 */
public final class EventCodec {
    private static final ObjectMapper JSON = JsonMapper.builder()
            .addModule(new JavaTimeModule())
            .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
            .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
            .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
            .defaultPropertyInclusion(
                    JsonInclude.Value.construct(JsonInclude.Include.NON_NULL, JsonInclude.Include.ALWAYS))
            .build();

    /** Longest data that is read, in bytes. */
    public static final int MAX_BYTES = 16 << 20;

    /**
     * Most bytes of a Kafka record: {@link #MAX_BYTES} of data and what goes around them. The coordinator sets topics to it;
     * producers have it as {@code max.request.size}.
     */
    public static final int MAX_RECORD_BYTES = 17_000_000;

    private static final Pattern JSON_TYPE = Pattern.compile("(?i)\\s*application/([a-z0-9.+-]+\\+)?json\\s*(;.*)?");

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
        Long timestamp = event.getTime() == null
                ? null
                : Long.valueOf(event.getTime().toInstant().toEpochMilli());
        return KafkaMessageFactory.<String>createWriter(topic, null, timestamp, key)
                .writeBinary(event);
    }

    /**
     * Reads the CloudEvent of a Kafka record, binary content mode.
     *
     * @param value the record's value, or null
     * @throws InvalidEventException if it is none; nothing else is ever thrown, whatever the record holds
     */
    public static CloudEvent read(Headers headers, byte[] value) throws InvalidEventException {
        CloudEvent event;
        try {
            event = KafkaMessageFactory.createReader(headers, value).toEvent();
        } catch (RuntimeException e) { // whatever a stranger's record makes the library throw
            throw new InvalidEventException(List.of(new Problem(
                    ErrorCode.INVALID_EVENT,
                    "",
                    "not a CloudEvent in binary content mode: " + e.getMessage(),
                    "set the headers ce_specversion, ce_id, ce_source, ce_type and content-type")));
        }
        if (event.getSpecVersion() != SpecVersion.V1) {
            throw new InvalidEventException(List.of(new Problem(
                    ErrorCode.INVALID_EVENT,
                    "/specversion",
                    "CloudEvents " + event.getSpecVersion() + " is not read",
                    "send ce_specversion 1.0")));
        }
        return event;
    }

    /**
     * The type of an event.
     *
     * @throws InvalidEventException if it is unknown
     */
    public static EventType typeOf(CloudEvent event) throws InvalidEventException {
        return EventType.named(event.getType())
                .orElseThrow(() -> new InvalidEventException(List.of(new Problem(
                        ErrorCode.INVALID_EVENT,
                        "/type",
                        "unknown type " + Names.quote(event.getType()),
                        "use one of the types in docs/protocol.md"))));
    }

    /**
     * The data of an event as a JSON tree.
     *
     * @throws InvalidEventException if there is none, it is too long, or no JSON
     */
    public static JsonNode tree(CloudEvent event) throws InvalidEventException {
        try {
            JsonNode tree = JSON.readTree(bytes(event));
            if (tree == null || tree.isMissingNode() || tree.isNull()) {
                throw new InvalidEventException(
                        List.of(new Problem(ErrorCode.INVALID_EVENT, "", "the event has no data", "send JSON data")));
            }
            return tree;
        } catch (IOException e) {
            throw new InvalidEventException(List.of(
                    new Problem(ErrorCode.INVALID_EVENT, "", "not JSON: " + messageOf(e), "send one JSON object")));
        }
    }

    /**
     * Decodes the data of an event of a known type. It checks the form only as far as the record needs it; what comes
     * from outside is checked by {@link EventValidator}.
     *
     * @throws InvalidEventException if the type is unknown or the data does not fit it; nothing else is ever thrown
     */
    public static Object decode(CloudEvent event) throws InvalidEventException {
        EventType type = typeOf(event);
        try {
            Object data = JSON.treeToValue(JsonSchemas.withoutNulls(tree(event)), type.dataClass());
            if (data != null) {
                return data;
            }
        } catch (JsonProcessingException | RuntimeException e) {
            throw new InvalidEventException(List.of(
                    new Problem(ErrorCode.INVALID_EVENT, "", messageOf(e), "see schemas/ for " + type.schemaFile())));
        }
        throw new InvalidEventException(
                List.of(new Problem(ErrorCode.INVALID_EVENT, "", "the event has no data", "send JSON data")));
    }

    private static byte[] bytes(CloudEvent event) throws InvalidEventException {
        String contentType = event.getDataContentType();
        if (contentType != null && !JSON_TYPE.matcher(contentType).matches()) {
            throw new InvalidEventException(List.of(new Problem(
                    ErrorCode.INVALID_EVENT,
                    "/datacontenttype",
                    "data of type " + Names.quote(contentType) + " is not read",
                    "set the header content-type to application/json")));
        }
        byte[] bytes = event.getData() == null ? null : event.getData().toBytes();
        if (bytes == null || bytes.length == 0) {
            throw new InvalidEventException(
                    List.of(new Problem(ErrorCode.INVALID_EVENT, "", "the event has no data", "send JSON data")));
        }
        if (bytes.length > MAX_BYTES) {
            throw new InvalidEventException(List.of(new Problem(
                    ErrorCode.INVALID_EVENT, "", "the data has more than " + MAX_BYTES + " bytes", "send less")));
        }
        return bytes;
    }

    private static String messageOf(Exception e) {
        String text = e instanceof JsonProcessingException j ? j.getOriginalMessage() : e.getMessage();
        return text == null ? e.getClass().getSimpleName() : text.replaceAll("\\[Source: [^;\\]]*; ", "[");
    }
}
