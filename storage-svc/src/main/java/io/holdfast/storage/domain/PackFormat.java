package io.holdfast.storage.domain;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * A pack: many chunks in one object. Big-endian. The pack's id is the SHA-256 of the whole object.
 *
 * <pre>
 * header   magic "HFPK" u32 | version u16 = 1 | flags u16 = 0
 * chunks   one after another, as stored
 * table    per chunk: id 32 bytes | plain length u32 | stored length u32 | encoding u8 (0 as is, 1 zstd)
 * trailer  SHA-256 of the table, 32 bytes | chunk count u32 | end magic "HFPE" u32
 * </pre>
 *
 * The table at the end lets an index be rebuilt from the bucket alone by reading a pack's tail.
 */
public final class PackFormat {
    static final int MAGIC = 0x4846504b;
    static final int END = 0x48465045;
    static final int VERSION = 1;
    /** Bytes before the first chunk. */
    public static final int HEADER = 8;
    /** Bytes of a table entry. */
    public static final int ENTRY = 41;
    /** Bytes after the table. */
    public static final int TRAILER = 40;

    /** Chunk stored as it is. */
    public static final int RAW = 0;
    /** Chunk stored as one zstd frame. */
    public static final int ZSTD = 1;

    private PackFormat() {}

    /** A chunk of a pack. */
    public record Entry(ChunkId id, int plainBytes, int storedBytes, int encoding) {}

    /**
     * What a pack holds.
     *
     * @param id the pack
     * @param entries its chunks in order; the first begins at {@link #HEADER}
     */
    public record Table(ChunkId id, List<Entry> entries) {
        public Table {
            entries = List.copyOf(entries);
        }

        /** Size of the pack object in bytes. */
        public long objectBytes() {
            return HEADER
                    + entries.stream().mapToLong(Entry::storedBytes).sum()
                    + (long) ENTRY * entries.size()
                    + TRAILER;
        }
    }

    /** Builds one pack at a time in a buffer that is used again. Not thread-safe. */
    public static final class Builder {
        private final byte[] buffer;
        private final int target;
        private final int maxChunks;
        private final List<Entry> entries = new ArrayList<>();
        private int at;

        /**
         * Makes a builder.
         *
         * @param targetBytes a pack is full from that size on
         * @param chunkBytes largest chunk
         */
        public Builder(int targetBytes, int chunkBytes) {
            this.target = targetBytes;
            this.maxChunks = Math.min(Limits.MAX_PACK_CHUNKS, Math.max(16, targetBytes / 2048));
            this.buffer = new byte[HEADER + targetBytes + chunkBytes + maxChunks * ENTRY + TRAILER];
            clear();
        }

        /** Begins anew. */
        public void clear() {
            entries.clear();
            ByteBuffer.wrap(buffer).putInt(MAGIC).putShort((short) VERSION).putShort((short) 0);
            at = HEADER;
        }

        public boolean isEmpty() {
            return entries.isEmpty();
        }

        public boolean isFull() {
            return at - HEADER >= target || entries.size() >= maxChunks;
        }

        /** Adds a chunk, compressed where that makes it smaller. */
        public void add(ChunkId id, byte[] data, int offset, int length, ChunkCodec codec) {
            if (isFull()) {
                throw new IllegalStateException("the pack is full");
            }
            int n = codec.compress(data, offset, length, buffer, at, length - 1);
            if (n > 0) {
                entries.add(new Entry(id, length, n, ZSTD));
                at += n;
            } else {
                System.arraycopy(data, offset, buffer, at, length);
                entries.add(new Entry(id, length, length, RAW));
                at += length;
            }
        }

        /** Ends the pack; its bytes are {@link #bytes()} up to {@link #length()} until {@link #clear()}. */
        public Table seal() {
            int table = at;
            ByteBuffer out = ByteBuffer.wrap(buffer).position(at);
            for (Entry e : entries) {
                writeEntry(out, e);
            }
            ChunkId.of(buffer, table, out.position() - table).write(out);
            out.putInt(entries.size()).putInt(END);
            at = out.position();
            return new Table(ChunkId.of(buffer, 0, at), entries);
        }

        public byte[] bytes() {
            return buffer;
        }

        public int length() {
            return at;
        }
    }

    static void writeEntry(ByteBuffer out, Entry e) {
        e.id().write(out);
        out.putInt(e.plainBytes()).putInt(e.storedBytes()).put((byte) e.encoding());
    }

    static Entry readEntry(Reader in) throws StorageException {
        ChunkId id = in.id();
        int plain = in.count("chunk length", Limits.MAX_CHUNK);
        int stored = in.count("stored chunk length", Limits.MAX_CHUNK);
        int encoding = in.u8();
        if (encoding != RAW && encoding != ZSTD) {
            throw in.bad("encoding " + encoding + " of chunk " + id + " is unknown");
        }
        if (plain == 0 || stored == 0 || stored > plain || (encoding == RAW && stored != plain)) {
            throw in.bad("lengths " + plain + " and " + stored + " of chunk " + id + " do not fit");
        }
        return new Entry(id, plain, stored, encoding);
    }

    /** Reads a whole pack's table and checks everything but the chunks: magic, version, digests, lengths. */
    public static Table read(String object, ChunkId id, byte[] data) throws StorageException {
        if (!ChunkId.of(data).equals(id)) {
            throw StorageException.corrupt(object, "its digest is not its name");
        }
        return readTable(object, id, data, 0, data.length, data.length);
    }

    /** How many bytes of the end are needed to read a table, known from its last 40 bytes. */
    public static int tailLength(String object, byte[] trailer) throws StorageException {
        if (ByteBuffer.wrap(trailer).getInt(TRAILER - 4) != END) {
            throw StorageException.corrupt(object, "no end magic: truncated or not a pack");
        }
        Reader in = new Reader(object, trailer, 0, trailer.length);
        in.id();
        int n = in.count("chunk count", Limits.MAX_PACK_CHUNKS);
        return n * ENTRY + TRAILER;
    }

    /**
     * Reads a table from a pack's tail.
     *
     * @param tail bytes that end with the pack's end
     * @param objectBytes size of the whole pack
     */
    public static Table readTable(String object, ChunkId id, byte[] tail, int offset, int length, long objectBytes)
            throws StorageException {
        if (length < TRAILER || objectBytes < HEADER + TRAILER || objectBytes > Limits.MAX_PACK) {
            throw StorageException.corrupt(object, "a pack cannot have " + objectBytes + " bytes");
        }
        byte[] trailer = new byte[TRAILER];
        System.arraycopy(tail, offset + length - TRAILER, trailer, 0, TRAILER);
        int need = tailLength(object, trailer);
        if (length < need || objectBytes < (long) HEADER + need) {
            throw StorageException.corrupt(object, "too short for its table");
        }
        int from = offset + length - need;
        int tableBytes = need - TRAILER;
        if (!ChunkId.of(tail, from, tableBytes).equals(ChunkId.read(trailer, 0))) {
            throw StorageException.corrupt(object, "the digest of its table is wrong");
        }
        if (length == objectBytes) {
            new Reader(object, tail, offset, length).magic(MAGIC, VERSION);
        }
        Reader in = new Reader(object, tail, from, tableBytes);
        List<Entry> entries = new ArrayList<>();
        while (in.remaining() > 0) {
            entries.add(readEntry(in));
        }
        Table t = new Table(id, entries);
        if (t.objectBytes() != objectBytes) {
            throw StorageException.corrupt(object, "has " + objectBytes + " bytes, its table says " + t.objectBytes());
        }
        return t;
    }
}
