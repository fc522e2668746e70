package io.holdfast.storage.domain;

import java.util.List;

/**
 * What a prune marked as needed by nobody: an object {@code gc/mark-<random>}, or what it is about to delete:
 * {@code gc/sweep-<random>}. A mark counts from the time at which the S3 server took it; it is never changed, only removed as a
 * whole once nothing in it waits any more.
 *
 * @param format version of the format, 1
 * @param packs ids of packs, in hex
 * @param manifests keys of VM manifests, below the prefix
 */
public record Mark(int format, List<String> packs, List<String> manifests) {
    /** The version that this code writes. */
    public static final int FORMAT = 1;

    public Mark {
        packs = List.copyOf(packs);
        manifests = List.copyOf(manifests);
    }

    /** The object's bytes. */
    public byte[] encode() {
        return JsonObject.encode(this);
    }

    /** Reads a mark, refusing what this code does not know. */
    public static Mark decode(String key, byte[] data) throws StorageException {
        Mark m = JsonObject.decode(key, "mark", data, Mark.class, FORMAT);
        for (String p : m.packs) {
            if (ChunkId.parse(p) == null) {
                throw StorageException.corrupt(key, "names a pack " + Names.printable(p));
            }
        }
        return m;
    }
}
