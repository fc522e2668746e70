package io.holdfast.storage.domain;

import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where every known chunk is: an open hash table of 48 bytes a slot, for a repository of many millions of chunks. The
 * first place told of a chunk stays, unless a later one is in a pack that stands better ({@link Standing}). Small ones are on the heap;
 * beyond that the table is in room that somebody else gives, such as files that are mapped, so that the heap does not grow with the
 * repository. Not thread-safe.
 *
 * <pre>
 * slot   chunk id 32 bytes | pack number u32 | offset u32 | stored length u32 | encoding + 1 u8, plain length u24; all zero: free
 * </pre>
 */
public final class ChunkIndex {
    /** Where a chunk is. */
    public record Place(ChunkId pack, int offset, int storedBytes, int plainBytes, int encoding) {}

    /** What is known of a pack, the best first. A pack that nothing was said of stands well. */
    public enum Standing {
        /** It is there. */
        WELL,
        /** It is there and is to be deleted: who can finds its chunks elsewhere. */
        GOING,
        /** Its object is gone, or has not the size that it must have. */
        GONE
    }

    /** Says how a pack stands. */
    public interface Judge {
        Standing of(ChunkId pack, long bytes);
    }

    /** Bytes of a slot. */
    static final int SLOT = 48;

    private static final int PLACE = 32;
    private static final int LAST = 44;
    private static final int PLAIN = (1 << 24) - 1;
    private static final int ON_HEAP = 1 << 16;
    /** Slots of a piece: 768 MiB. */
    private static final int PIECE = 1 << 24;

    private final Room room;
    private final List<ChunkId> packs = new ArrayList<>();
    private final Map<ChunkId, Integer> packNumbers = new HashMap<>();
    /** Of each pack by its number the size, and the standing. */
    private int[] bytes = new int[64];

    private Standing[] standing = new Standing[64];
    private ByteBuffer[] pieces;
    private long mask;
    private long size;

    /** One that is on the heap, whatever its size. */
    public ChunkIndex() {
        this(Room.HEAP);
    }

    /** One that takes room for what is not small. */
    public ChunkIndex(Room room) {
        this.room = room;
        pieces = new ByteBuffer[] {ByteBuffer.allocate(1024 * SLOT)};
        mask = 1023;
    }

    /** How many chunks are known. */
    public long size() {
        return size;
    }

    /** How many packs are known. */
    public int packs() {
        return packs.size();
    }

    /** Adds a pack's chunks; a pack that is known already changes nothing. */
    public void add(Table table) throws StorageException {
        if (packNumbers.containsKey(table.id())) {
            return;
        }
        int pack = packs.size();
        if (pack == bytes.length) {
            bytes = Arrays.copyOf(bytes, 2 * pack);
            standing = Arrays.copyOf(standing, 2 * pack);
        }
        packs.add(table.id());
        bytes[pack] = (int) table.objectBytes();
        standing[pack] = Standing.WELL;
        put(table, pack);
        packNumbers.put(table.id(), pack); // known only once all of it is: else it is added again
    }

    private void put(Table table, int pack) throws StorageException {
        int offset = PackFormat.HEADER;
        for (Entry e : table.entries()) {
            put(e, pack, offset);
            offset += e.storedBytes();
        }
    }

    /**
     * Has it said how each pack stands.
     *
     * @return whether one stands worse than before: then every table is to be told {@link #again}, because its chunks may be elsewhere too
     */
    public boolean judge(Judge judge) {
        boolean worse = false;
        for (var e : packNumbers.entrySet()) {
            int pack = e.getValue();
            Standing now = judge.of(e.getKey(), bytes[pack]);
            worse |= now.compareTo(standing[pack]) > 0;
            standing[pack] = now;
        }
        return worse;
    }

    /** Tells a table again: its pack takes the chunks whose pack stands worse. */
    public void again(Table table) throws StorageException {
        Integer pack = packNumbers.get(table.id());
        if (pack == null) {
            add(table);
        } else if (standing[pack] != Standing.GONE) {
            put(table, pack);
        }
    }

    /** Size of a pack in bytes as its table says it; -1 if the pack is not known. */
    public long packBytes(ChunkId pack) {
        Integer number = packNumbers.get(pack);
        return number == null ? -1 : bytes[number];
    }

    private static ByteBuffer piece(ByteBuffer[] in, long slot) {
        return in[(int) (slot / PIECE)];
    }

    private static int at(long slot) {
        return (int) (slot % PIECE) * SLOT;
    }

    /** The slot of a chunk, or the free one where it would be. */
    private static long slot(ByteBuffer[] in, long mask, long a, long b, long c, long d) {
        // a digest is uniform; b is mixed in so that chosen ids cannot share some bits of a only
        long i = (((a ^ b) * 0x9E3779B97F4A7C15L) >>> 20) & mask;
        while (true) {
            ByteBuffer p = piece(in, i);
            int k = at(i);
            if (p.getInt(k + LAST) == 0
                    || (p.getLong(k) == a
                            && p.getLong(k + 8) == b
                            && p.getLong(k + 16) == c
                            && p.getLong(k + 24) == d)) {
                return i;
            }
            i = (i + 1) & mask;
        }
    }

    private long slot(ChunkId id) {
        return slot(pieces, mask, id.a(), id.b(), id.c(), id.d());
    }

    private void put(Entry e, int pack, int offset) throws StorageException {
        if ((size + 1) * 10 > (mask + 1) * 7) {
            grow();
        }
        long i = slot(e.id());
        ByteBuffer p = piece(pieces, i);
        int k = at(i);
        boolean free = p.getInt(k + LAST) == 0;
        if (!free && standing[pack].compareTo(standing[p.getInt(k + PLACE)]) >= 0) {
            return;
        }
        p.putLong(k, e.id().a());
        p.putLong(k + 8, e.id().b());
        p.putLong(k + 16, e.id().c());
        p.putLong(k + 24, e.id().d());
        p.putInt(k + PLACE, pack);
        p.putInt(k + PLACE + 4, offset);
        p.putInt(k + PLACE + 8, e.storedBytes());
        p.putInt(k + LAST, ((e.encoding() + 1) << 24) | e.plainBytes());
        size += free ? 1 : 0;
    }

    private void grow() throws StorageException {
        long slots = (mask + 1) * 2;
        ByteBuffer[] more = new ByteBuffer[(int) ((slots + PIECE - 1) / PIECE)];
        for (int i = 0; i < more.length; i++) {
            int bytes = (int) Math.min(PIECE, slots) * SLOT;
            more[i] = slots <= ON_HEAP ? ByteBuffer.allocate(bytes) : room.allocate(bytes);
        }
        byte[] one = new byte[SLOT];
        for (long i = 0; i <= mask; i++) {
            ByteBuffer p = piece(pieces, i);
            int k = at(i);
            if (p.getInt(k + LAST) != 0) {
                long to = slot(more, slots - 1, p.getLong(k), p.getLong(k + 8), p.getLong(k + 16), p.getLong(k + 24));
                p.get(k, one);
                piece(more, to).put(at(to), one);
            }
        }
        ByteBuffer[] before = pieces;
        pieces = more;
        mask = slots - 1;
        for (ByteBuffer p : before) {
            room.free(p);
        }
    }

    public boolean contains(ChunkId id) {
        long i = slot(id);
        return piece(pieces, i).getInt(at(i) + LAST) != 0;
    }

    /** Where a chunk is, null if unknown. */
    public Place find(ChunkId id) {
        long i = slot(id);
        ByteBuffer p = piece(pieces, i);
        int k = at(i);
        int last = p.getInt(k + LAST);
        if (last == 0) {
            return null;
        }
        return new Place(
                packs.get(p.getInt(k + PLACE)),
                p.getInt(k + PLACE + 4),
                p.getInt(k + PLACE + 8),
                last & PLAIN,
                (last >>> 24) - 1);
    }
}
