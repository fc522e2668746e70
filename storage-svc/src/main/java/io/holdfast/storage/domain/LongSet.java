package io.holdfast.storage.domain;

import java.nio.ByteBuffer;

/**
 * A set of chunks, each by the first 64 bits of its id: 8 bytes a slot, for repositories of many millions of chunks. A small one is on the
 * heap; beyond that it is in room that somebody else gives. Two chunks of the same 64 bits count as one; whoever uses it must be safe then (a
 * collector keeps too much, never too little). Not thread-safe.
 */
public final class LongSet implements AutoCloseable {
    private static final int SLOT = 8;
    private static final int ON_HEAP = 1 << 16;
    /** Slots of a piece: 512 MiB. */
    private static final int PIECE = 1 << 26;

    private final Room room;
    private ByteBuffer[] pieces = {ByteBuffer.allocate(1024 * SLOT)};
    private long mask = 1023;
    private boolean zero;
    private long size;

    /** One that is on the heap, whatever its size. */
    public LongSet() {
        this(Room.HEAP);
    }

    /** One that takes room for what is not small. */
    public LongSet(Room room) {
        this.room = room;
    }

    /** Adds; false if it was there. */
    public boolean add(ChunkId id) throws StorageException {
        return add(id.a());
    }

    /** Adds; false if it was there. */
    public boolean add(long value) throws StorageException {
        if (value == 0) {
            boolean added = !zero;
            zero = true;
            return added;
        }
        if ((size + 1) * 10 > (mask + 1) * 7) {
            grow();
        }
        if (!put(pieces, mask, value)) {
            return false;
        }
        size++;
        return true;
    }

    public boolean contains(ChunkId id) {
        return contains(id.a());
    }

    public boolean contains(long value) {
        if (value == 0) {
            return zero;
        }
        for (long i = first(mask, value); ; i = (i + 1) & mask) {
            long there = get(pieces, i);
            if (there == 0 || there == value) {
                return there == value;
            }
        }
    }

    /** Gives its room back; it is not used after that. */
    @Override
    public void close() {
        for (ByteBuffer p : pieces) {
            room.free(p);
        }
    }

    /** How many there are. */
    public long size() {
        return size + (zero ? 1L : 0L);
    }

    private static long get(ByteBuffer[] in, long slot) {
        return in[(int) (slot / PIECE)].getLong((int) (slot % PIECE) * SLOT);
    }

    private static long first(long mask, long value) {
        return ((value * 0x9E3779B97F4A7C15L) >>> 20) & mask;
    }

    private static boolean put(ByteBuffer[] in, long mask, long value) {
        for (long i = first(mask, value); ; i = (i + 1) & mask) {
            long there = get(in, i);
            if (there == value) {
                return false;
            }
            if (there == 0) {
                in[(int) (i / PIECE)].putLong((int) (i % PIECE) * SLOT, value);
                return true;
            }
        }
    }

    private void grow() throws StorageException {
        long slots = (mask + 1) * 2;
        ByteBuffer[] more = new ByteBuffer[(int) ((slots + PIECE - 1) / PIECE)];
        for (int i = 0; i < more.length; i++) {
            int bytes = (int) Math.min(PIECE, slots) * SLOT;
            more[i] = slots <= ON_HEAP ? ByteBuffer.allocate(bytes) : room.allocate(bytes);
        }
        for (long i = 0; i <= mask; i++) {
            long v = get(pieces, i);
            if (v != 0) {
                put(more, slots - 1, v);
            }
        }
        ByteBuffer[] before = pieces;
        pieces = more;
        mask = slots - 1;
        for (ByteBuffer p : before) {
            room.free(p);
        }
    }
}
