package io.holdfast.coordinator.adapter.kafka;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.holdfast.coordinator.domain.Effect;
import io.holdfast.coordinator.domain.Instance;
import io.holdfast.coordinator.domain.Operation;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;

/**
 * Bytes of the journal: JSON. It is the coordinator's own and no contract; fields that are
 * not known are passed over, so that an older coordinator reads a newer one's.
 */
final class JournalCodec {
    static final String EPOCH_KEY = "epoch";
    static final String OPERATION_PREFIX = "operation/";
    static final String INSTANCE_PREFIX = "instance/";

    private static final ObjectMapper JSON =
            EventCodec.json().copy().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

    private JournalCodec() {}

    /** The epoch that a coordinator took. */
    record Epoch(long epoch) {}

    /** Bytes of a journal record, null for a tombstone. */
    static byte[] encode(Effect.Journal record) {
        return switch (record) {
            case Effect.JournalOperation o -> bytes(o.operation());
            case Effect.JournalInstance i -> bytes(i.instance());
            case Effect.Forget f -> null;
        };
    }

    static byte[] bytes(Object value) {
        try {
            return JSON.writeValueAsBytes(value);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("cannot encode " + value.getClass(), e);
        }
    }

    static Operation operation(byte[] bytes) throws IOException {
        return JSON.readValue(bytes, Operation.class);
    }

    static Instance instance(byte[] bytes) throws IOException {
        return JSON.readValue(bytes, Instance.class);
    }

    static long epoch(byte[] bytes) throws IOException {
        return JSON.readValue(bytes, Epoch.class).epoch();
    }
}
