package io.holdfast.storage.domain;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** Reads a binary object with bounds checked; errors name the object. Big-endian. */
final class Reader {
    private final String object;
    private final ByteBuffer in;

    Reader(String object, byte[] data, int offset, int length) {
        this(object, ByteBuffer.wrap(data, offset, length));
    }

    /** Reads what is left of a buffer, whose position stays. */
    Reader(String object, ByteBuffer data) {
        this.object = object;
        this.in = data.slice();
    }

    StorageException bad(String what) {
        return StorageException.corrupt(object, what);
    }

    private void need(long bytes) throws StorageException {
        if (in.remaining() < bytes) {
            throw bad("ends early, at byte " + in.position());
        }
    }

    int remaining() {
        return in.remaining();
    }

    int position() {
        return in.position();
    }

    int u8() throws StorageException {
        need(1);
        return in.get() & 0xff;
    }

    int u16() throws StorageException {
        need(2);
        return in.getShort() & 0xffff;
    }

    /** An unsigned number of at most {@code max}. */
    int count(String what, int max) throws StorageException {
        need(4);
        int n = in.getInt();
        if (n < 0 || n > max) {
            throw bad(what + " " + Integer.toUnsignedString(n) + " is over the limit of " + max);
        }
        return n;
    }

    long size(String what, long max) throws StorageException {
        need(8);
        long n = in.getLong();
        if (n < 0 || n > max) {
            throw bad(what + " " + Long.toUnsignedString(n) + " is over the limit of " + max);
        }
        return n;
    }

    ChunkId id() throws StorageException {
        need(ChunkId.BYTES);
        return new ChunkId(in.getLong(), in.getLong(), in.getLong(), in.getLong());
    }

    void bytes(byte[] into, int at, int length) throws StorageException {
        need(length);
        in.get(into, at, length);
    }

    /** Steps over so many bytes. */
    void skip(int bytes) throws StorageException {
        need(bytes);
        in.position(in.position() + bytes);
    }

    /** What was read, from a position on. */
    ByteBuffer since(int position) {
        return in.slice(position, in.position() - position);
    }

    String text(int max) throws StorageException {
        int n = u16();
        if (n > max) {
            throw bad("a name of " + n + " bytes is over the limit of " + max);
        }
        byte[] raw = new byte[n];
        bytes(raw, 0, n);
        return new String(raw, StandardCharsets.UTF_8);
    }

    void magic(int magic, int version) throws StorageException {
        need(8);
        int m = in.getInt();
        if (m != magic) {
            throw bad("wrong magic " + Integer.toHexString(m) + ", expected " + Integer.toHexString(magic));
        }
        int v = in.getShort() & 0xffff;
        if (v != version) {
            throw bad("version " + v + " is unknown, this code reads " + version);
        }
        int flags = in.getShort() & 0xffff;
        if (flags != 0) {
            throw bad("flags " + Integer.toHexString(flags) + " are unknown");
        }
    }
}
