package io.holdfast.storage.domain;

import java.nio.ByteBuffer;

/** Compresses chunks. Thread-safe. */
public interface ChunkCodec {
    /**
     * Compresses.
     *
     * @return compressed length, or -1 if it does not fit into {@code room}
     */
    int compress(byte[] source, int offset, int length, byte[] target, int at, int room);

    /**
     * Decompresses to exactly {@code length} bytes.
     *
     * @return false if the input is broken or has another length
     */
    boolean decompress(ByteBuffer source, byte[] target, int at, int length);
}
