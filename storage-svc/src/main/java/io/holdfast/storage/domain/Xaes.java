package io.holdfast.storage.domain;

import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * AES-256-GCM with nonces of 192 bits, the construction XAES-256-GCM of C2SP: a key for each message is derived from the
 * first half of its nonce, so nonces may be random without a limit that a repository comes near (2^80 messages).
 * Thread-safe.
 */
final class Xaes {
    /** Bytes of a key. */
    static final int KEY = 32;
    /** Bytes of a nonce. */
    static final int NONCE = 24;
    /** Bytes of a tag. */
    static final int TAG = 16;

    private static final int BLOCK = 16;
    private static final int DERIVED_FROM = 12;
    private static final ThreadLocal<Cipher> GCM = ThreadLocal.withInitial(() -> cipher("AES/GCM/NoPadding"));

    private final ThreadLocal<Cipher> derive;
    private final byte[] k1;

    Xaes(byte[] key) {
        if (key.length != KEY) {
            throw new IllegalArgumentException("an AES-256 key has 32 bytes");
        }
        SecretKeySpec spec = new SecretKeySpec(key, "AES");
        derive = ThreadLocal.withInitial(() -> {
            try {
                Cipher c = cipher("AES/ECB/NoPadding");
                c.init(Cipher.ENCRYPT_MODE, spec);
                return c;
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException("every JVM has AES", e);
            }
        });
        k1 = block(new byte[BLOCK]);
        int carry = k1[0] >>> 7 & 1;
        for (int i = 0; i < BLOCK; i++) {
            int next = i + 1 < BLOCK ? k1[i + 1] >>> 7 & 1 : 0;
            k1[i] = (byte) (k1[i] << 1 | next);
        }
        k1[BLOCK - 1] ^= (byte) (carry * 0x87);
    }

    private static Cipher cipher(String name) {
        try {
            return Cipher.getInstance(name);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every JVM has " + name, e);
        }
    }

    private byte[] block(byte[] in) {
        try {
            return derive.get().doFinal(in);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private Cipher init(Cipher c, int mode, byte[] nonce, int at, byte[] aad) throws GeneralSecurityException {
        byte[] m = new byte[BLOCK * 2];
        for (int half = 0; half < 2; half++) {
            int o = half * BLOCK;
            m[o + 1] = (byte) (half + 1);
            m[o + 2] = 'X';
            System.arraycopy(nonce, at, m, o + 4, DERIVED_FROM);
            for (int i = 0; i < BLOCK; i++) {
                m[o + i] ^= k1[i];
            }
        }
        c.init(
                mode,
                new SecretKeySpec(block(m), "AES"),
                new GCMParameterSpec(TAG * 8, nonce, at + DERIVED_FROM, NONCE - DERIVED_FROM));
        c.updateAAD(aad);
        return c;
    }

    /**
     * Encrypts.
     *
     * @param out gets {@code length + TAG} bytes from {@code to} on; no part of the input's array range
     */
    void seal(byte[] nonce, int nonceAt, byte[] aad, byte[] in, int offset, int length, byte[] out, int to) {
        try {
            init(GCM.get(), Cipher.ENCRYPT_MODE, nonce, nonceAt, aad).doFinal(in, offset, length, out, to);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM failed", e);
        }
    }

    /** Encrypts with a nonce that follows from the content and may have been used for the same content before. Both positions move. */
    void sealAgain(byte[] nonce, byte[] aad, ByteBuffer in, ByteBuffer out) {
        try {
            // a cipher of its own: one that is used again refuses the nonce that it had last
            init(cipher("AES/GCM/NoPadding"), Cipher.ENCRYPT_MODE, nonce, 0, aad)
                    .doFinal(in, out);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM failed", e);
        }
    }

    /**
     * Decrypts what may be too large for the heap. Both positions move.
     *
     * @param in with its tag at the end
     * @return false if it was not sealed with this key, nonce and data
     */
    boolean open(byte[] nonce, byte[] aad, ByteBuffer in, ByteBuffer out) {
        if (in.remaining() < TAG) {
            return false;
        }
        try {
            init(cipher("AES/GCM/NoPadding"), Cipher.DECRYPT_MODE, nonce, 0, aad)
                    .doFinal(in, out);
            return true;
        } catch (AEADBadTagException e) {
            return false;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM failed", e);
        }
    }

    /**
     * Decrypts.
     *
     * @param length bytes of the input, its tag included
     * @return false if it was not sealed with this key, nonce and data; then {@code out} holds nothing of it
     */
    boolean open(byte[] nonce, int nonceAt, byte[] aad, byte[] in, int offset, int length, byte[] out, int to) {
        if (length < TAG) {
            return false;
        }
        try {
            init(GCM.get(), Cipher.DECRYPT_MODE, nonce, nonceAt, aad).doFinal(in, offset, length, out, to);
            return true;
        } catch (AEADBadTagException e) {
            Arrays.fill(out, to, to + length - TAG, (byte) 0);
            return false;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM failed", e);
        }
    }
}
