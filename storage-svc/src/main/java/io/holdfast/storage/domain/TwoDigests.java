package io.holdfast.storage.domain;

import java.util.Arrays;
import java.util.Iterator;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import org.jboss.logging.Logger;

/**
 * SHA-256 (FIPS 180-4) or HMAC-SHA-256 (RFC 2104) of two messages of one length at a time, by a {@link Sha256Pair}. Thread-safe.
 */
final class TwoDigests {
    private static final Logger LOG = Logger.getLogger(TwoDigests.class);
    private static final int BLOCK = 64;
    private static final int WORDS = 8;
    /** A padding's first byte and the message's length in bits. */
    private static final int LEAST_PADDING = 9;

    private static final int[] BEGIN = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
    };
    private static final ThreadLocal<int[]> STATES = ThreadLocal.withInitial(() -> new int[2 * WORDS]);
    private static final ThreadLocal<byte[]> ENDS = ThreadLocal.withInitial(() -> new byte[4 * BLOCK]);

    /** The only one, or null. */
    private static final Sha256Pair PAIR = find();

    private final Sha256Pair pair;
    private final int[] inner;
    private final int[] outer;
    /** Bytes that are digested before the message. */
    private final int before;

    private TwoDigests(Sha256Pair pair, int[] inner, int[] outer) {
        this.pair = pair;
        this.inner = inner;
        this.outer = outer;
        this.before = outer == null ? 0 : BLOCK;
    }

    private static Sha256Pair find() {
        try {
            Iterator<Sha256Pair> found = ServiceLoader.load(Sha256Pair.class, TwoDigests.class.getClassLoader())
                    .iterator();
            Sha256Pair pair = found.hasNext() ? found.next() : null;
            return pair != null && pair.able() ? pair : null;
        } catch (ServiceConfigurationError | LinkageError e) {
            LOG.warnf(e, "event=no-native-sha256 consequence=\"digests are computed one by one\"");
            return null;
        }
    }

    /** Plain digests; null where two at a time gain nothing. */
    static TwoDigests plain() {
        return PAIR == null ? null : new TwoDigests(PAIR, BEGIN, null);
    }

    /**
     * Keyed ones; null where two at a time gain nothing.
     *
     * @param key at most 64 bytes
     */
    static TwoDigests keyed(byte[] key) {
        if (PAIR == null) {
            return null;
        }
        byte[] pads = new byte[2 * BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            int k = i < key.length ? key[i] : 0;
            pads[i] = (byte) (k ^ 0x36);
            pads[BLOCK + i] = (byte) (k ^ 0x5c);
        }
        int[] states = both(new int[2 * WORDS], BEGIN);
        PAIR.blocks(states, pads, 0, pads, BLOCK, 1);
        return new TwoDigests(PAIR, Arrays.copyOf(states, WORDS), Arrays.copyOfRange(states, WORDS, 2 * WORDS));
    }

    private static int[] both(int[] states, int[] begin) {
        System.arraycopy(begin, 0, states, 0, WORDS);
        System.arraycopy(begin, 0, states, WORDS, WORDS);
        return states;
    }

    /**
     * Digests of {@code length} bytes of each.
     *
     * @param into gets the two
     */
    void of(byte[] a, int aOffset, byte[] b, int bOffset, int length, ChunkId[] into) {
        int[] states = both(STATES.get(), inner);
        int whole = length / BLOCK;
        int rest = length % BLOCK;
        if (whole > 0) {
            pair.blocks(states, a, aOffset, b, bOffset, whole);
        }
        byte[] ends = ENDS.get();
        int blocks = pad(ends, rest, before + (long) length);
        System.arraycopy(a, aOffset + length - rest, ends, 0, rest);
        System.arraycopy(b, bOffset + length - rest, ends, 2 * BLOCK, rest);
        pair.blocks(states, ends, 0, ends, 2 * BLOCK, blocks);
        if (outer != null) {
            blocks = pad(ends, WORDS * Integer.BYTES, BLOCK + WORDS * (long) Integer.BYTES);
            for (int i = 0; i < WORDS; i++) {
                word(ends, i * Integer.BYTES, states[i]);
                word(ends, 2 * BLOCK + i * Integer.BYTES, states[WORDS + i]);
            }
            pair.blocks(both(states, outer), ends, 0, ends, 2 * BLOCK, blocks);
        }
        into[0] = id(states, 0);
        into[1] = id(states, WORDS);
    }

    /** Makes the ends of two messages, without what is left of them; returns how many blocks they are. */
    private static int pad(byte[] ends, int rest, long bytes) {
        int blocks = rest + LEAST_PADDING > BLOCK ? 2 : 1;
        Arrays.fill(ends, (byte) 0);
        for (int end = 0; end < ends.length; end += 2 * BLOCK) {
            ends[end + rest] = (byte) 0x80;
            word(ends, end + blocks * BLOCK - 2 * Integer.BYTES, (int) (bytes >>> 29));
            word(ends, end + blocks * BLOCK - Integer.BYTES, (int) (bytes << 3));
        }
        return blocks;
    }

    private static void word(byte[] to, int at, int word) {
        to[at] = (byte) (word >>> 24);
        to[at + 1] = (byte) (word >>> 16);
        to[at + 2] = (byte) (word >>> 8);
        to[at + 3] = (byte) word;
    }

    private static ChunkId id(int[] s, int at) {
        return new ChunkId(
                two(s[at], s[at + 1]), two(s[at + 2], s[at + 3]), two(s[at + 4], s[at + 5]), two(s[at + 6], s[at + 7]));
    }

    private static long two(int high, int low) {
        return (long) high << 32 | (low & 0xffffffffL);
    }
}
