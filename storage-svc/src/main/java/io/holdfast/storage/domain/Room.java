package io.holdfast.storage.domain;

import java.nio.ByteBuffer;

/** Gives room for what may be too much for the heap, such as files that are mapped. Thread-safe. */
public interface Room {
    /** Room on the heap. */
    Room HEAP = ByteBuffer::allocate;

    /** What is not larger need not leave the heap, in bytes. */
    int SMALL = 1 << 20;

    /** That many bytes of zeros. */
    ByteBuffer allocate(int bytes) throws StorageException;

    /** That many bytes of zeros, on the heap where they are few. */
    default ByteBuffer take(int bytes) throws StorageException {
        return bytes <= SMALL ? ByteBuffer.allocate(bytes) : allocate(bytes);
    }

    /** Says that nobody uses a buffer any more that this room gave; any other one is left alone. */
    default void free(ByteBuffer given) {
        // the garbage collector's
    }
}
