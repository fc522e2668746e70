package io.holdfast.storage.domain;

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
        return JsonObject.encode(this);
    }

    /** Reads a hold, refusing what this code does not know. */
    public static Hold decode(String key, byte[] data) throws StorageException {
        Hold h = JsonObject.decode(key, "hold", data, Hold.class, FORMAT);
        if (!Names.valid(h.checkpoint) || h.heldAt == null) {
            throw StorageException.corrupt(key, "has no checkpoint or no time");
        }
        return h;
    }
}
