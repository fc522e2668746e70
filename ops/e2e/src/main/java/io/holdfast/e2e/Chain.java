package io.holdfast.e2e;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * The hash chain of the guest's {@code ring} program, computed here again: whoever prints a count with another hash has not
 * received every byte of the ring in order. See {@code ops/guest/README.md}. Thread-safe.
 */
public final class Chain {
    private static final int LIMIT = 10_000_000;

    private final List<String> known = new ArrayList<>();
    private byte[] last;

    public Chain() {
        last = sha256("holdfast ring".getBytes(StandardCharsets.US_ASCII));
        known.add(hex(last));
    }

    /** The first 8 bytes, in hex, of the hash that belongs to a count. */
    public synchronized String hash(long count) {
        if (count < 0 || count > LIMIT) {
            return "count " + count + " cannot be";
        }
        while (known.size() <= count) {
            last = sha256(ByteBuffer.allocate(40)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .put(last)
                    .putLong(known.size())
                    .array());
            known.add(hex(last));
        }
        return known.get((int) count);
    }

    private static String hex(byte[] hash) {
        return HexFormat.of().formatHex(hash, 0, 8);
    }

    private static byte[] sha256(byte[] data) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(data);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
