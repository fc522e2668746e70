package io.holdfast.storage.app;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;

/**
 * Moves bytes between a file and the heap, a piece at a time. The JDK passes such bytes through memory outside the heap, as much as one call
 * moves, which the calling thread keeps until it ends. With calls of 4 MiB each archive's threads left as much free in whichever of
 * malloc's arenas they had come to, and none of that went back.
 */
final class InPieces {
    /** Bytes of a piece. */
    static final int PIECE = 64 * 1024;

    private InPieces() {}

    /** Fills what is left of a buffer from that place of a file on; false when the file ends before. */
    static boolean read(FileChannel file, long at, ByteBuffer into) throws IOException {
        int end = into.limit();
        try {
            for (long from = at; into.position() < end; ) {
                into.limit(Math.min(end, into.position() + PIECE));
                int n = file.read(into, from);
                if (n < 0) {
                    return false;
                }
                from += n;
            }
            return true;
        } finally {
            into.limit(end);
        }
    }

    /** Writes what is left of a buffer to that place of a file. */
    static void write(FileChannel file, long at, ByteBuffer data) throws IOException {
        int end = data.limit();
        try {
            for (long to = at; data.position() < end; ) {
                data.limit(Math.min(end, data.position() + PIECE));
                to += file.write(data, to);
            }
        } finally {
            data.limit(end);
        }
    }
}
