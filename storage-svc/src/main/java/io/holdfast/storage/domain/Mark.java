package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;
import java.util.ArrayList;
import java.util.List;

/**
 * What a prune marked as needed by nobody: an object {@code gc/mark-<random>}, or what it is about to delete:
 * {@code gc/sweep-<random>}. A mark counts from the time at which the S3 server took it; it is never changed, only removed as a
 * whole once nothing in it waits any more. Who marks more than {@link #MOST} things writes several.
 *
 * @param format version of the format, 1
 * @param packs ids of packs, in hex
 * @param manifests keys of VM manifests, below the prefix
 */
public record Mark(int format, List<String> packs, List<String> manifests) {
    /** The version that this code writes. */
    public static final int FORMAT = 1;
    /** So many packs and manifests one mark names at most: {@link Limits#MAX_MARK} is not reached. */
    public static final int MOST = 50_000;

    private static final String REMEDY_OF_MARK =
            "delete it: what it names is marked again by the next prune, and nothing that is needed goes";
    private static final String REMEDY_OF_SWEEP =
            "delete it when no prune is at work on the bucket (one that is removes it when it ends): it says what a prune is about to delete";

    public Mark {
        packs = List.copyOf(packs);
        manifests = List.copyOf(manifests);
    }

    /** The object's bytes. */
    public byte[] encode() {
        return JsonObject.encode(this);
    }

    /** Marks, or sweeps, that name these together; none where there is nothing. */
    public static List<Mark> of(List<String> packs, List<String> manifests) {
        var marks = new ArrayList<Mark>();
        int all = packs.size() + manifests.size();
        for (int from = 0; from < all; from += MOST) {
            int to = Math.min(all, from + MOST);
            marks.add(new Mark(FORMAT, part(packs, from, to), part(manifests, from - packs.size(), to - packs.size())));
        }
        return marks;
    }

    private static List<String> part(List<String> list, int from, int to) {
        int end = Math.clamp(to, 0, list.size());
        return list.subList(Math.clamp(from, 0, end), end);
    }

    /** A mark or sweep that is not what it must be, with what can safely be done about it. */
    public static StorageException broken(String key, String what) {
        return new StorageException(ErrorCode.REPOSITORY_CORRUPT, "object " + key + ": " + what, remedy(key));
    }

    private static String remedy(String key) {
        return key.substring(key.lastIndexOf('/') + 1).startsWith("sweep-") ? REMEDY_OF_SWEEP : REMEDY_OF_MARK;
    }

    /** Reads a mark, refusing what this code does not know. */
    public static Mark decode(String key, byte[] data) throws StorageException {
        Mark m;
        try {
            m = JsonObject.decode(key, "mark", data, Mark.class, FORMAT);
        } catch (StorageException e) {
            if (e.getMessage().contains("is unknown")) { // of a newer Holdfast
                throw e;
            }
            throw new StorageException(e.code(), e.getMessage(), remedy(key), e);
        }
        for (String p : m.packs) {
            if (ChunkId.parse(p) == null) {
                throw broken(key, "names a pack " + Names.printable(p));
            }
        }
        return m;
    }
}
