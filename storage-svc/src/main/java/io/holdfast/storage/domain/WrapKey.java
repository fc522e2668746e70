package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * The key that the operator keeps: 32 random bytes. It encrypts nothing but a repository's data key. It never leaves this class
 * but for what is derived from it.
 */
public final class WrapKey {
    private static final int BYTES = 32;
    private final byte[] key;
    private final String setting;

    private WrapKey(byte[] key, String setting) {
        this.key = key;
        this.setting = setting;
    }

    /**
     * Reads a key: 64 hex digits, or base64 of 32 bytes.
     *
     * @param setting where the text is from, for messages
     * @throws StorageException WRONG_KEY if it is no key; the text is in no message
     */
    public static WrapKey parse(String text, String setting) throws StorageException {
        String t = text.strip();
        byte[] raw = null;
        try {
            raw = t.matches("[0-9a-fA-F]{64}")
                    ? HexFormat.of().parseHex(t)
                    : Base64.getDecoder().decode(t.getBytes(StandardCharsets.US_ASCII));
        } catch (IllegalArgumentException e) {
            // no base64: said below
        }
        if (raw == null || raw.length != BYTES) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    setting + " holds no key",
                    "a key is 32 random bytes as 64 hex digits or in base64: openssl rand -hex 32");
        }
        int differ = 0;
        for (byte b : raw) {
            differ |= b ^ raw[0];
        }
        if (differ == 0) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    setting + " holds 32 bytes that are all alike, which is no random key",
                    "make one: openssl rand -hex 32");
        }
        return new WrapKey(raw, setting);
    }

    /** A new key in the text form that {@link #parse} reads. */
    public static String random() {
        byte[] raw = new byte[BYTES];
        new SecureRandom().nextBytes(raw);
        return HexFormat.of().formatHex(raw);
    }

    /** Where it is from. */
    public String setting() {
        return setting;
    }

    /** Tells this key from others without telling anything of it: 16 hex digits. */
    public String id() {
        return HexFormat.of().formatHex(derive(key, "holdfast wrap key id"), 0, 8);
    }

    /** The cipher that wraps data keys. */
    Xaes cipher() {
        return new Xaes(derive(key, "holdfast wrap"));
    }

    /** 32 bytes for a purpose: HKDF-SHA-256's expand step, for keys that are random already. */
    static byte[] derive(byte[] key, String purpose) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            mac.update(purpose.getBytes(StandardCharsets.US_ASCII));
            mac.update((byte) 1);
            return mac.doFinal();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every JVM has HmacSHA256", e);
        }
    }

    @Override
    public String toString() {
        return "WrapKey " + id() + " of " + setting;
    }
}
