package io.holdfast.storage.domain;

import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where every known chunk is: an open hash table of 49 bytes a slot, for a repository of many millions of chunks. The
 * first place told of a chunk stays. Not thread-safe.
 */
public final class ChunkIndex {
    /** Where a chunk is. */
    public record Place(ChunkId pack, int offset, int storedBytes, int plainBytes, int encoding) {}

    private final List<ChunkId> packs = new ArrayList<>();
    private final Map<ChunkId, Integer> packNumbers = new HashMap<>();
    private long[] ids;
    private int[] places;
    private byte[] encodings;
    private int size;

    public ChunkIndex() {
        allocate(1024);
    }

    private void allocate(int slots) {
        ids = new long[slots * 4];
        places = new int[slots * 4];
        encodings = new byte[slots];
        Arrays.fill(encodings, (byte) -1);
    }

    /** How many chunks are known. */
    public int size() {
        return size;
    }

    /** How many packs are known. */
    public int packs() {
        return packs.size();
    }

    /** Adds a pack's chunks; a pack that is known already changes nothing. */
    public void add(Table table) {
        if (packNumbers.containsKey(table.id())) {
            return;
        }
        int pack = packs.size();
        packs.add(table.id());
        packNumbers.put(table.id(), pack);
        int offset = PackFormat.HEADER;
        for (Entry e : table.entries()) {
            put(e.id(), pack, offset, e.storedBytes(), e.plainBytes(), (byte) e.encoding());
            offset += e.storedBytes();
        }
    }

    private int slot(long a, long b, long c, long d) {
        int mask = encodings.length - 1;
        // a digest is uniform; b is mixed in so that chosen ids cannot share 20 bits of a only
        int i = (int) (((a ^ b) * 0x9E3779B97F4A7C15L) >>> 32) & mask;
        while (encodings[i] != -1) {
            int k = i * 4;
            if (ids[k] == a && ids[k + 1] == b && ids[k + 2] == c && ids[k + 3] == d) {
                return i;
            }
            i = (i + 1) & mask;
        }
        return i;
    }

    private void put(ChunkId id, int pack, int offset, int stored, int plain, byte encoding) {
        int i = slot(id.a(), id.b(), id.c(), id.d());
        if (encodings[i] != -1) {
            return;
        }
        fill(i, id.a(), id.b(), id.c(), id.d(), pack, offset, stored, plain, encoding);
        if (++size > encodings.length / 10 * 7) {
            grow();
        }
    }

    private void fill(
            int i, long a, long b, long c, long d, int pack, int offset, int stored, int plain, byte encoding) {
        int k = i * 4;
        ids[k] = a;
        ids[k + 1] = b;
        ids[k + 2] = c;
        ids[k + 3] = d;
        places[k] = pack;
        places[k + 1] = offset;
        places[k + 2] = stored;
        places[k + 3] = plain;
        encodings[i] = encoding;
    }

    private void grow() {
        long[] oldIds = ids;
        int[] oldPlaces = places;
        byte[] oldEncodings = encodings;
        allocate(Math.multiplyExact(oldEncodings.length, 2));
        for (int i = 0; i < oldEncodings.length; i++) {
            if (oldEncodings[i] != -1) {
                int k = i * 4;
                int to = slot(oldIds[k], oldIds[k + 1], oldIds[k + 2], oldIds[k + 3]);
                fill(
                        to,
                        oldIds[k],
                        oldIds[k + 1],
                        oldIds[k + 2],
                        oldIds[k + 3],
                        oldPlaces[k],
                        oldPlaces[k + 1],
                        oldPlaces[k + 2],
                        oldPlaces[k + 3],
                        oldEncodings[i]);
            }
        }
    }

    public boolean contains(ChunkId id) {
        return encodings[slot(id.a(), id.b(), id.c(), id.d())] != -1;
    }

    /** Where a chunk is, null if unknown. */
    public Place find(ChunkId id) {
        int i = slot(id.a(), id.b(), id.c(), id.d());
        if (encodings[i] == -1) {
            return null;
        }
        int k = i * 4;
        return new Place(packs.get(places[k]), places[k + 1], places[k + 2], places[k + 3], encodings[i]);
    }
}
