package io.holdfast.storage.domain;

import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * An index: which chunks are in which packs. Big-endian. Its key is the SHA-256 of the whole object, so an index is
 * never written over.
 *
 * <pre>
 * header   magic "HFIX" u32 | version u16 = 1 | flags u16 = 0 | pack count u32
 * packs    each: pack id 32 bytes | chunk count u32 | entries as in a pack's table
 * trailer  SHA-256 of all before, 32 bytes
 * </pre>
 */
public final class IndexFormat {
    static final int MAGIC = 0x48464958;
    static final int VERSION = 1;

    private IndexFormat() {}

    /** The object's bytes. */
    public static byte[] encode(List<Table> packs) {
        long n = 12 + ChunkId.BYTES;
        for (Table t : packs) {
            n += ChunkId.BYTES + 4 + (long) t.entries().size() * PackFormat.ENTRY;
        }
        if (n > Limits.MAX_INDEX || packs.size() > Limits.MAX_INDEX_PACKS) {
            throw new IllegalArgumentException("too much for one index");
        }
        ByteBuffer out = ByteBuffer.allocate((int) n);
        out.putInt(MAGIC).putShort((short) VERSION).putShort((short) 0).putInt(packs.size());
        for (Table t : packs) {
            t.id().write(out);
            out.putInt(t.entries().size());
            for (Entry e : t.entries()) {
                PackFormat.writeEntry(out, e);
            }
        }
        ChunkId.of(out.array(), 0, out.position()).write(out);
        return out.array();
    }

    /** Takes a pack's table. */
    public interface EachTable {
        void table(Table t) throws StorageException;
    }

    /**
     * Reads an index and checks it.
     *
     * @param sealed whether it is of an encrypted repository: then all of its chunks are sealed, else none
     */
    public static List<Table> decode(String object, byte[] data, boolean sealed) throws StorageException {
        List<Table> tables = new ArrayList<>();
        read(object, ByteBuffer.wrap(data), sealed, tables::add);
        return tables;
    }

    /** Reads an index, all of it checked before the first of its tables is told; one table at a time is in memory. */
    public static void each(String object, ByteBuffer data, boolean sealed, EachTable each) throws StorageException {
        read(object, data, sealed, t -> {});
        read(object, data, sealed, each);
    }

    private static void read(String object, ByteBuffer data, boolean sealed, EachTable each) throws StorageException {
        if (data.limit() < 12 + ChunkId.BYTES) {
            throw StorageException.corrupt(object, "too short for an index");
        }
        int body = data.limit() - ChunkId.BYTES;
        ByteBuffer content = data.slice(0, body);
        Reader in = new Reader(object, content);
        in.magic(MAGIC, VERSION);
        if (!ChunkId.of(content).equals(ChunkId.read(data, body))) {
            throw in.bad("its digest is wrong");
        }
        int packs = in.count("pack count", Limits.MAX_INDEX_PACKS);
        for (int p = 0; p < packs; p++) {
            ChunkId id = in.id();
            int chunks = in.count("chunk count", Limits.MAX_PACK_CHUNKS);
            List<Entry> entries = new ArrayList<>();
            for (int i = 0; i < chunks; i++) {
                entries.add(PackFormat.readEntry(in));
            }
            Table t = new Table(id, entries);
            PackFormat.checkSealed(in, t, sealed);
            if (t.objectBytes() > Limits.MAX_PACK) {
                throw in.bad("pack " + id + " of " + t.objectBytes() + " bytes is over the limit");
            }
            each.table(t);
        }
        if (in.remaining() > 0) {
            throw in.bad(in.remaining() + " bytes too many");
        }
    }
}
