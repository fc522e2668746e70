package io.holdfast.storage.domain;

import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A pack: many chunks in one object. Big-endian. The pack's id is the SHA-256 of the whole object.
 *
 * <pre>
 * header   magic "HFPK" u32 | version u16 = 1 | flags u16 = 0
 * chunks   one after another, as stored
 * table    per chunk: id 32 bytes | plain length u32 | stored length u32 | encoding u8 (0 as is, 1 zstd, +2 sealed)
 * trailer  SHA-256 of the table as stored, 32 bytes | chunk count u32 | end magic "HFPE" or "HFPX" u32
 * </pre>
 *
 * In an encrypted repository each chunk and the table are sealed ({@link Vault}) and the end magic is "HFPX".
 *
 * No two packs have one id, also not of the same chunks: else the upload of one could race with the deletion of the other.
 * A pack that is not sealed has a last chunk of 16 random bytes for that, which no manifest names.
 *
 * <p>The table at the end lets an index be rebuilt from the bucket alone by reading a pack's tail.
 */
public final class PackFormat {
    static final int MAGIC = 0x4846504b;
    static final int END = 0x48465045;
    static final int END_SEALED = 0x48465058;
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
    /** Added to the encoding of a chunk that is sealed. */
    public static final int SEALED = 2;

    private static final int SALT = 16;
    private static final SecureRandom RANDOM = new SecureRandom();

    private PackFormat() {}

    /** A pack that is full at that size is full with so many chunks, too. */
    public static int mostChunks(int targetBytes) {
        return Math.min(Limits.MAX_PACK_CHUNKS - 1, Math.max(16, targetBytes / 2048));
    }

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

        /** Whether it is a pack of an encrypted repository: all of its chunks are sealed, or none. */
        public boolean sealed() {
            return !entries.isEmpty() && (entries.get(0).encoding() & PackFormat.SEALED) != 0;
        }

        /** The chunks without the random last one that a pack has which is not sealed. */
        public List<Entry> content() {
            int last = entries.size() - 1;
            return sealed() || last < 0 || entries.get(last).plainBytes() != SALT ? entries : entries.subList(0, last);
        }

        /** SHA-256 of the entries: two tables that have the same are the same. */
        public ChunkId digest() {
            ByteBuffer plain = ByteBuffer.allocate(entries.size() * ENTRY);
            for (Entry e : entries) {
                writeEntry(plain, e);
            }
            return ChunkId.of(plain.array());
        }

        /** Size of the pack object in bytes. */
        public long objectBytes() {
            long chunks = 0;
            for (Entry e : entries) {
                chunks += e.storedBytes();
            }
            return HEADER + chunks + (long) ENTRY * entries.size() + (sealed() ? Vault.OVERHEAD : 0) + TRAILER;
        }
    }

    /** Builds one pack at a time in a buffer that is used again. Not thread-safe. */
    public static final class Builder {
        private final byte[] buffer;
        private final byte[] scratch;
        private final Vault vault;
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
        public Builder(int targetBytes, int chunkBytes, Vault vault) {
            this.target = targetBytes;
            this.vault = vault;
            this.maxChunks = mostChunks(targetBytes);
            this.buffer = new byte
                    [HEADER + targetBytes + chunkBytes + 2 * Vault.OVERHEAD + (maxChunks + 1) * ENTRY + TRAILER];
            this.scratch = new byte[vault.sealed() ? chunkBytes : 0];
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
            if (vault.sealed()) {
                int packed = codec.compress(data, offset, length, scratch, 0, length - 1);
                int encoding = SEALED | (packed > 0 ? ZSTD : RAW);
                int stored = packed > 0
                        ? vault.sealChunk(id, length, encoding, scratch, 0, packed, buffer, at)
                        : vault.sealChunk(id, length, encoding, data, offset, length, buffer, at);
                entries.add(new Entry(id, length, stored, encoding));
                at += stored;
                return;
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

        /** Adds a chunk as it is stored in another pack of the repository: sealed, compressed or neither. */
        public void addStored(Entry e, byte[] stored, int from) {
            if (isFull()) {
                throw new IllegalStateException("the pack is full");
            }
            System.arraycopy(stored, from, buffer, at, e.storedBytes());
            entries.add(e);
            at += e.storedBytes();
        }

        /** Ends the pack; its bytes are {@link #bytes()} up to {@link #length()} until {@link #clear()}. */
        public Table seal() {
            if (!vault.sealed()) {
                // random nonces make a sealed pack unique; this makes the others so
                byte[] salt = new byte[SALT];
                RANDOM.nextBytes(salt);
                System.arraycopy(salt, 0, buffer, at, SALT);
                entries.add(new Entry(ChunkId.of(salt), SALT, SALT, RAW));
                at += SALT;
            }
            int table = at;
            ByteBuffer plain = ByteBuffer.allocate(entries.size() * ENTRY);
            for (Entry e : entries) {
                writeEntry(plain, e);
            }
            ByteBuffer out = ByteBuffer.wrap(buffer).position(at);
            out.put(vault.sealed() ? vault.sealTable(plain.array()) : plain.array());
            ChunkId.of(buffer, table, out.position() - table).write(out);
            out.putInt(entries.size()).putInt(vault.sealed() ? END_SEALED : END);
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
        int stored = in.count("stored chunk length", Limits.MAX_CHUNK + Vault.OVERHEAD);
        int encoding = in.u8();
        if (encoding > (SEALED | ZSTD)) {
            throw in.bad("encoding " + encoding + " of chunk " + id + " is unknown");
        }
        int packed = (encoding & SEALED) == 0 ? stored : stored - Vault.OVERHEAD;
        boolean raw = (encoding & ZSTD) == RAW;
        if (plain == 0 || packed <= 0 || packed > plain || (raw && packed != plain)) {
            throw in.bad("lengths " + plain + " and " + stored + " of chunk " + id + " do not fit");
        }
        return new Entry(id, plain, stored, encoding);
    }

    /** Refuses a table that mixes sealed and other chunks, or is not what a repository of that vault has. */
    static void checkSealed(Reader in, Table t, boolean sealed) throws StorageException {
        for (Entry e : t.entries()) {
            if (((e.encoding() & SEALED) != 0) != sealed) {
                throw in.bad("chunk " + e.id() + " is " + (sealed ? "not " : "") + "encrypted, in a repository that is"
                        + (sealed ? "" : " not"));
            }
        }
    }

    /**
     * Takes a chunk out of its stored form, and checks it against its id: {@link #open} and {@link #check}.
     *
     * @throws StorageException REPOSITORY_CORRUPT if anything is not as it must be
     */
    public static void unpack(
            String object,
            Vault vault,
            ChunkCodec codec,
            Entry e,
            byte[] stored,
            int from,
            byte[] scratch,
            byte[] plain)
            throws StorageException {
        open(object, vault, codec, e, stored, from, scratch, plain);
        check(object, vault, e, plain);
    }

    /**
     * Takes a chunk out of its stored form: decrypts and decompresses. It still has to be checked.
     *
     * @param stored array that holds the stored bytes from {@code from} on
     * @param scratch takes what is decrypted and not yet decompressed, at least {@code storedBytes} long
     * @param plain takes the chunk's {@code plainBytes}
     * @throws StorageException REPOSITORY_CORRUPT if it cannot be done
     */
    public static void open(
            String object,
            Vault vault,
            ChunkCodec codec,
            Entry e,
            byte[] stored,
            int from,
            byte[] scratch,
            byte[] plain)
            throws StorageException {
        boolean zstd = (e.encoding() & ZSTD) != 0;
        byte[] packed = stored;
        int at = from;
        int length = e.storedBytes();
        if (((e.encoding() & SEALED) != 0) != vault.sealed()) {
            throw StorageException.corrupt(
                    object, "chunk " + e.id() + " is encrypted and the repository not, or the other way round");
        }
        if (vault.sealed()) {
            packed = zstd ? scratch : plain;
            if (!vault.openChunk(e.id(), e.plainBytes(), e.encoding(), stored, from, length, packed, 0)) {
                throw StorageException.corrupt(object, "chunk " + e.id() + " does not open with the repository's key");
            }
            at = 0;
            length -= Vault.OVERHEAD;
        } else if (!zstd) {
            System.arraycopy(stored, from, plain, 0, length);
        }
        if (zstd && !codec.decompress(ByteBuffer.wrap(packed, at, length), plain, 0, e.plainBytes())) {
            throw StorageException.corrupt(object, "chunk " + e.id() + " is broken");
        }
    }

    /**
     * Whether an opened chunk is the one of its id.
     *
     * @throws StorageException REPOSITORY_CORRUPT if not
     */
    public static void check(String object, Vault vault, Entry e, byte[] plain) throws StorageException {
        require(object, e, vault.chunkId(plain, 0, e.plainBytes()));
    }

    /**
     * Whether two opened chunks are the ones of their ids; takes little longer than one where they are of one length and the processor can.
     *
     * @throws StorageException REPOSITORY_CORRUPT if not
     */
    public static void check(String object, Vault vault, Entry a, byte[] plainA, Entry b, byte[] plainB)
            throws StorageException {
        if (a.plainBytes() != b.plainBytes()) {
            check(object, vault, a, plainA);
            check(object, vault, b, plainB);
            return;
        }
        ChunkId[] ids = new ChunkId[2];
        vault.chunkIds(plainA, 0, plainB, 0, a.plainBytes(), ids);
        require(object, a, ids[0]);
        require(object, b, ids[1]);
    }

    private static void require(String object, Entry e, ChunkId id) throws StorageException {
        if (!id.equals(e.id())) {
            throw StorageException.corrupt(object, "chunk " + e.id() + " has another digest");
        }
    }

    /** Whether a pack's end says that it is of an encrypted repository. */
    static boolean isSealed(byte[] pack) {
        return pack.length >= 4 && ByteBuffer.wrap(pack).getInt(pack.length - 4) == END_SEALED;
    }

    /** Reads a whole pack's table and checks everything but the chunks: magic, version, digests, lengths. */
    public static Table read(String object, ChunkId id, byte[] data, Vault vault) throws StorageException {
        if (!ChunkId.of(data).equals(id)) {
            throw StorageException.corrupt(object, "its digest is not its name");
        }
        return readTable(object, id, data, 0, data.length, data.length, vault);
    }

    /** How many bytes of the end are needed to read a table, known from its last 40 bytes. */
    public static int tailLength(String object, byte[] trailer) throws StorageException {
        if (trailer.length != TRAILER) {
            throw StorageException.corrupt(object, "too short for a pack");
        }
        int end = ByteBuffer.wrap(trailer).getInt(TRAILER - 4);
        if (end != END && end != END_SEALED) {
            throw StorageException.corrupt(object, "no end magic: truncated or not a pack");
        }
        Reader in = new Reader(object, trailer, 0, trailer.length);
        in.id();
        int n = in.count("chunk count", Limits.MAX_PACK_CHUNKS);
        return n * ENTRY + (end == END_SEALED ? Vault.OVERHEAD : 0) + TRAILER;
    }

    /**
     * Reads a table from a pack's tail.
     *
     * @param tail bytes that end with the pack's end
     * @param objectBytes size of the whole pack
     */
    public static Table readTable(
            String object, ChunkId id, byte[] tail, int offset, int length, long objectBytes, Vault vault)
            throws StorageException {
        if (length < TRAILER || objectBytes < HEADER + TRAILER || objectBytes > Limits.MAX_PACK) {
            throw StorageException.corrupt(object, "a pack cannot have " + objectBytes + " bytes");
        }
        byte[] trailer = Arrays.copyOfRange(tail, offset + length - TRAILER, offset + length);
        int need = tailLength(object, trailer);
        if (length < need || objectBytes < (long) HEADER + need) {
            throw StorageException.corrupt(object, "too short for its table");
        }
        boolean sealed = ByteBuffer.wrap(trailer).getInt(TRAILER - 4) == END_SEALED;
        int from = offset + length - need;
        int tableBytes = need - TRAILER;
        if (!ChunkId.of(tail, from, tableBytes).equals(ChunkId.read(trailer, 0))) {
            throw StorageException.corrupt(object, "the digest of its table is wrong");
        }
        if (sealed != vault.sealed()) {
            throw StorageException.corrupt(
                    object,
                    sealed ? "is encrypted, in a repository that is not" : "is not encrypted, in a repository that is");
        }
        if (length == objectBytes) {
            new Reader(object, tail, offset, length).magic(MAGIC, VERSION);
        }
        byte[] plain =
                sealed ? vault.openTable(tail, from, tableBytes) : Arrays.copyOfRange(tail, from, from + tableBytes);
        if (plain == null) {
            throw StorageException.corrupt(object, "its table does not open with the repository's key");
        }
        Reader in = new Reader(object, plain, 0, plain.length);
        List<Entry> entries = new ArrayList<>();
        while (in.remaining() > 0) {
            entries.add(readEntry(in));
        }
        Table t = new Table(id, entries);
        checkSealed(in, t, sealed);
        if (t.objectBytes() != objectBytes) {
            throw StorageException.corrupt(object, "has " + objectBytes + " bytes, its table says " + t.objectBytes());
        }
        return t;
    }
}
