package io.holdfast.coordinator.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.coordinator.domain.Input;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.EventValidator;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.SpecNormalizer;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;

/** Makes an input of a record of the requests topic, whatever its bytes are. Thread-safe. */
final class RequestReader {
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final int MAX_ID = 256;
    private static final List<String> CARRIED = List.of("traceparent", "tracestate");

    private RequestReader() {}

    /**
     * Reads a record.
     *
     * @param position where it is, for records that do not say who sent them
     * @return {@link Input.Requested}, or {@link Input.Refused} with every problem found
     */
    static Input read(Headers headers, byte[] value, String position) {
        CloudEvent event;
        try {
            event = EventCodec.read(headers, value == null ? new byte[0] : value);
        } catch (InvalidEventException e) {
            return new Input.Refused(
                    text(headers, "ce_id", "unreadable/" + position),
                    text(headers, "ce_source", "/holdfast/requests"),
                    kind(text(headers, "ce_type", "")),
                    EventValidator.instanceNamedBy(value),
                    e.problems(),
                    Map.of());
        } catch (RuntimeException e) {
            return new Input.Refused("unreadable/" + position, "/holdfast/requests", null, null, internal(e), Map.of());
        }
        String source = event.getSource().toString();
        Map<String, String> trace = trace(event);
        try {
            if (event.getId().length() > MAX_ID || source.length() > MAX_ID) {
                throw new InvalidEventException(List.of(new Problem(
                        ErrorCode.INVALID_EVENT,
                        "/id",
                        "id or source is longer than " + MAX_ID + " characters",
                        "choose a shorter one")));
            }
            Object data = EventValidator.decode(event);
            if (!(data instanceof Request request)) {
                throw new InvalidEventException(List.of(new Problem(
                        ErrorCode.INVALID_EVENT,
                        "/type",
                        "type " + event.getType() + " is no request",
                        "use one of io.holdfast.request.*")));
            }
            if (request instanceof Request.Deploy d) {
                request = new Request.Deploy(SpecNormalizer.normalize(d.spec()), d.instance());
            }
            return new Input.Requested(event.getId(), source, request, nonce(), trace);
        } catch (InvalidEventException e) {
            return refused(event, source, trace, e.problems());
        } catch (RuntimeException e) {
            return refused(event, source, trace, internal(e));
        }
    }

    private static Input refused(CloudEvent event, String source, Map<String, String> trace, List<Problem> problems) {
        byte[] data = event.getData() == null ? null : event.getData().toBytes();
        return new Input.Refused(
                cut(event.getId()),
                cut(source),
                kind(event.getType()),
                EventValidator.instanceNamedBy(data),
                problems,
                trace);
    }

    private static List<Problem> internal(RuntimeException e) {
        return List.of(new Problem(
                ErrorCode.INVALID_EVENT, "", "the request cannot be read: " + e, "compare it with docs/protocol.md"));
    }

    /** Extension attributes that commands and events carry on. */
    static Map<String, String> trace(CloudEvent event) {
        var trace = new TreeMap<String, String>();
        for (String name : CARRIED) {
            if (event.getExtension(name) instanceof String s && s.length() <= 512) {
                trace.put(name, s);
            }
        }
        return trace;
    }

    private static OperationKind kind(String type) {
        return switch (EventType.named(type).orElse(null)) {
            case REQUEST_DEPLOY -> OperationKind.deploy;
            case REQUEST_CHECKPOINT -> OperationKind.checkpoint;
            case REQUEST_RESTORE -> OperationKind.restore;
            case REQUEST_DESTROY -> OperationKind.destroy;
            case REQUEST_VERIFY -> OperationKind.verify;
            case REQUEST_FORGET -> OperationKind.forget;
            case REQUEST_PRUNE -> OperationKind.prune;
            case REQUEST_HOLD -> OperationKind.hold;
            case REQUEST_RELEASE -> OperationKind.release;
            case REQUEST_STATS -> OperationKind.stats;
            case REQUEST_REBUILD -> OperationKind.rebuild;
            case null, default -> null;
        };
    }

    private static String text(Headers headers, String name, String otherwise) {
        Header h = headers.lastHeader(name);
        return h == null || h.value() == null || h.value().length == 0
                ? otherwise
                : cut(new String(h.value(), StandardCharsets.UTF_8));
    }

    private static String cut(String s) {
        return s.length() > MAX_ID ? s.substring(0, MAX_ID) : s;
    }

    private static String nonce() {
        byte[] bytes = new byte[16];
        RANDOM.nextBytes(bytes);
        return HexFormat.of().formatHex(bytes);
    }
}
