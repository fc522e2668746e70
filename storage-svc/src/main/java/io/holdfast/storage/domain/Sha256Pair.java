package io.holdfast.storage.domain;

/**
 * Computes two SHA-256 digests at a time, which on processors with instructions for it takes little longer than one. Found by
 * {@link java.util.ServiceLoader}; where there is none, or it is not able, digests are computed one by one. Thread-safe.
 */
public interface Sha256Pair {
    /** Whether it gains anything on this machine. It is not used otherwise. */
    boolean able();

    /**
     * Goes on with two digests (the function that FIPS 180-4 applies to each block).
     *
     * @param states eight words of the first, then eight of the second; changed
     * @param aOffset where blocks of 64 bytes begin; there are so many
     * @param bOffset the same of the second message, which may be in the same array
     */
    void blocks(int[] states, byte[] a, int aOffset, byte[] b, int bOffset, int blocks);
}
