package io.holdfast.coordinator.domain;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.Locale;

/** Deterministic ids. */
public final class Ids {
    private static final DateTimeFormatter CHECKPOINT_TIME =
            DateTimeFormatter.ofPattern("yyyyMMdd't'HHmmss'z'", Locale.ROOT).withZone(ZoneOffset.UTC);

    /** CloudEvents source of requests that are due by the clock. */
    public static final String SCHEDULE = "/holdfast/schedule";

    private Ids() {}

    /** The operation of a request: the same for every repeat of the request. */
    public static String operation(String source, String requestId) {
        return "op-" + sha256(source + "\n" + requestId).substring(0, 16);
    }

    /** The checkpoint that an operation accepted at that time makes. */
    public static String checkpoint(String operation, Instant acceptedAt) {
        return "cp-" + CHECKPOINT_TIME.format(acceptedAt) + "-" + operation.substring(3, 9);
    }

    /** SHA-256 in lower-case hex. */
    static String sha256(String text) {
        try {
            return HexFormat.of()
                    .formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JDK has SHA-256", e);
        }
    }
}
