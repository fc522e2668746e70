package io.holdfast.storage.domain;

import java.util.Arrays;

/** Tells zero blocks. */
public final class Zeros {
    private static final byte[] ZERO = new byte[64 * 1024];

    private Zeros() {}

    /** Whether all those bytes are zero. */
    public static boolean all(byte[] data, int offset, int length) {
        for (int done = 0; done < length; ) {
            int n = Math.min(ZERO.length, length - done);
            if (!Arrays.equals(data, offset + done, offset + done + n, ZERO, 0, n)) {
                return false;
            }
            done += n;
        }
        return true;
    }
}
