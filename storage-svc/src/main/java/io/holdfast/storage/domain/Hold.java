package io.holdfast.storage.domain;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;
import java.time.Instant;

/**
 * That a checkpoint is held: an object {@code holds/<checkpoint>.json}.
 *
 * @param format version of the format, 1
 * @param reason as it was given
 * @param until its objects were to be locked until then; or null
 */
public record Hold(int format, String checkpoint, String reason, Instant heldAt, Instant until) {
    /** The version that this code writes. */
    public static final int FORMAT = 1;

    /** The object's bytes. */
    public byte[] encode() {
        try {
            return EventCodec.json().writeValueAsBytes(this);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Reads a hold, refusing what this code does not know. */
    public static Hold decode(String key, byte[] data) throws StorageException {
        try {
            JsonNode tree = EventCodec.json().readTree(data);
            if (tree == null || tree.path("format").asInt() != FORMAT) {
                throw StorageException.corrupt(key, "not a hold of format " + FORMAT);
            }
            Hold h = EventCodec.json().treeToValue(tree, Hold.class);
            if (!Names.valid(h.checkpoint) || h.heldAt == null) {
                throw StorageException.corrupt(key, "has no checkpoint or no time");
            }
            return h;
        } catch (IOException | RuntimeException e) {
            throw StorageException.corrupt(key, "not a hold: " + e.getClass().getSimpleName());
        }
    }
}
