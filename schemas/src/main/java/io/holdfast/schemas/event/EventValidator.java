package io.holdfast.schemas.event;

import com.fasterxml.jackson.databind.JsonNode;
import io.cloudevents.CloudEvent;
import io.holdfast.schemas.spec.SpecReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * Holds a CloudEvent's data against the JSON Schema of its type, and a network spec within it against its meaning too.
 * The coordinator checks each request so, before it becomes a record; tests check every event that they see. Schemas
 * are loaded once. Thread-safe.
 */
public final class EventValidator {
    private EventValidator() {}

    /** Every problem of an event; empty when its type is known and its data valid. */
    public static List<Problem> problems(CloudEvent event) {
        try {
            EventType type = EventCodec.typeOf(event);
            return problems(type, EventCodec.tree(event));
        } catch (InvalidEventException e) {
            return e.problems();
        }
    }

    /** Every problem of the data of an event of that type. */
    public static List<Problem> problems(EventType type, JsonNode data) {
        List<Problem> found =
                new ArrayList<>(JsonSchemas.problems(type.schemaFile(), data, ErrorCode.INVALID_EVENT, ""));
        if (type == EventType.REQUEST_DEPLOY) {
            found.replaceAll(p -> p.field().startsWith("/spec/")
                    ? new Problem(ErrorCode.INVALID_SPEC, p.field(), p.message(), p.remedy())
                    : p);
            found.addAll(SpecReader.meaning(data.path("spec"), "/spec"));
        }
        return List.copyOf(found);
    }

    /**
     * Validates and decodes.
     *
     * @return a record of the event's {@link EventType}
     * @throws InvalidEventException with every problem found
     */
    public static Object decode(CloudEvent event) throws InvalidEventException {
        EventType type = EventCodec.typeOf(event);
        JsonNode data = EventCodec.tree(event);
        List<Problem> problems = problems(type, data);
        if (!problems.isEmpty()) {
            throw new InvalidEventException(problems);
        }
        return EventCodec.decode(event);
    }

    /** The instance that an unreadable request seems to be about, for its rejection, or null. */
    public static String instanceNamedBy(byte[] data) {
        try {
            JsonNode tree = data == null ? null : EventCodec.json().readTree(data);
            JsonNode instance = tree == null ? null : tree.path("instance");
            return instance != null && instance.isTextual() && instance.asText().length() <= 200
                    ? instance.asText()
                    : null;
        } catch (IOException e) {
            return null;
        }
    }
}
