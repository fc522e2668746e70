package io.holdfast.storage.domain;

import java.nio.ByteBuffer;
import java.security.DigestException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** A SHA-256 digest: the name of a chunk (of its plain bytes), a pack or an index (of the whole object). */
public record ChunkId(long a, long b, long c, long d) implements Comparable<ChunkId> {
    /** Bytes of an id. */
    public static final int BYTES = 32;

    private static final ThreadLocal<MessageDigest> DIGEST = ThreadLocal.withInitial(ChunkId::sha256);
    private static final ThreadLocal<byte[]> OUT = ThreadLocal.withInitial(() -> new byte[BYTES]);

    /** A new SHA-256. */
    public static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JVM has SHA-256", e);
        }
    }

    /** The id of those bytes. Thread-safe. */
    public static ChunkId of(byte[] data, int offset, int length) {
        MessageDigest md = DIGEST.get();
        byte[] out = OUT.get();
        try {
            md.reset();
            md.update(data, offset, length);
            md.digest(out, 0, BYTES);
        } catch (DigestException e) {
            throw new IllegalStateException(e);
        }
        return read(out, 0);
    }

    /** The id of those bytes. */
    public static ChunkId of(byte[] data) {
        return of(data, 0, data.length);
    }

    /** The id of what is left of a buffer, whose position stays. */
    public static ChunkId of(ByteBuffer data) {
        MessageDigest md = sha256();
        md.update(data.duplicate());
        return read(md.digest(), 0);
    }

    /** Reads an id's 32 bytes at a place of a buffer. */
    public static ChunkId read(ByteBuffer from, int at) {
        return new ChunkId(from.getLong(at), from.getLong(at + 8), from.getLong(at + 16), from.getLong(at + 24));
    }

    /** Reads an id's 32 bytes. */
    public static ChunkId read(byte[] raw, int offset) {
        ByteBuffer b = ByteBuffer.wrap(raw, offset, BYTES);
        return new ChunkId(b.getLong(), b.getLong(), b.getLong(), b.getLong());
    }

    /** Reads 64 lower-case hex digits; null if they are not. */
    public static ChunkId parse(String hex) {
        if (hex == null || !hex.matches("[0-9a-f]{64}")) {
            return null;
        }
        return read(HexFormat.of().parseHex(hex), 0);
    }

    /** Writes the id's 32 bytes. */
    public void write(ByteBuffer to) {
        to.putLong(a).putLong(b).putLong(c).putLong(d);
    }

    /** Writes the id's 32 bytes to a place of a buffer. */
    public void write(ByteBuffer to, int at) {
        to.putLong(at, a).putLong(at + 8, b).putLong(at + 16, c).putLong(at + 24, d);
    }

    /** 64 lower-case hex digits. */
    public String hex() {
        ByteBuffer raw = ByteBuffer.allocate(BYTES);
        write(raw);
        return HexFormat.of().formatHex(raw.array());
    }

    @Override
    public int hashCode() {
        return (int) (a ^ (a >>> 32));
    }

    @Override
    public int compareTo(ChunkId o) {
        int r = Long.compareUnsigned(a, o.a);
        if (r == 0) {
            r = Long.compareUnsigned(b, o.b);
        }
        if (r == 0) {
            r = Long.compareUnsigned(c, o.c);
        }
        return r == 0 ? Long.compareUnsigned(d, o.d) : r;
    }

    @Override
    public String toString() {
        return hex();
    }
}
