package io.holdfast.storage.domain;

/**
 * A set of chunks, each by the first 64 bits of its id: 8 bytes a slot, for repositories of many millions of chunks. Two
 * chunks of the same 64 bits count as one; whoever uses it must be safe then (a collector keeps too much, never too
 * little). Not thread-safe.
 */
public final class LongSet {
    private long[] slots = new long[1024];
    private boolean zero;
    private int size;

    /** Adds; false if it was there. */
    public boolean add(ChunkId id) {
        return add(id.a());
    }

    /** Adds; false if it was there. */
    public boolean add(long value) {
        if (value == 0) {
            boolean added = !zero;
            zero = true;
            return added;
        }
        int i = slot(slots, value);
        if (slots[i] == value) {
            return false;
        }
        slots[i] = value;
        if (++size > slots.length / 10 * 7) {
            grow();
        }
        return true;
    }

    public boolean contains(ChunkId id) {
        return contains(id.a());
    }

    public boolean contains(long value) {
        return value == 0 ? zero : slots[slot(slots, value)] == value;
    }

    /** How many there are. */
    public long size() {
        return size + (zero ? 1L : 0L);
    }

    private static int slot(long[] in, long value) {
        int mask = in.length - 1;
        int i = (int) ((value * 0x9E3779B97F4A7C15L) >>> 32) & mask;
        while (in[i] != 0 && in[i] != value) {
            i = (i + 1) & mask;
        }
        return i;
    }

    private void grow() {
        long[] more = new long[Math.multiplyExact(slots.length, 2)];
        for (long v : slots) {
            if (v != 0) {
                more[slot(more, v)] = v;
            }
        }
        slots = more;
    }
}
