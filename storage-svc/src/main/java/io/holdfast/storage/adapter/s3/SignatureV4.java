package io.holdfast.storage.adapter.s3;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Signs a put whose content's digest is known already: minio-java would copy and hash the content once more. AWS Signature
 * Version 4 of a single request without query, over the headers host, x-amz-content-sha256 and x-amz-date.
 */
final class SignatureV4 {
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);
    private static final String UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/";
    private static final String HEADERS = "host;x-amz-content-sha256;x-amz-date";

    /** What to send. */
    record Signed(String date, String authorization) {}

    private SignatureV4() {}

    /**
     * Signs.
     *
     * @param host as in the header Host
     * @param path encoded path of the URL
     * @param contentSha256 in hex
     */
    static Signed sign(
            String method,
            String host,
            String path,
            String contentSha256,
            String region,
            String accessKey,
            String secretKey,
            Instant now) {
        String date = TIME.format(now);
        String scope = date.substring(0, 8) + "/" + region + "/s3/aws4_request";
        String canonical = method + "\n" + path + "\n\nhost:" + host + "\nx-amz-content-sha256:" + contentSha256
                + "\nx-amz-date:" + date + "\n\n" + HEADERS + "\n" + contentSha256;
        String toSign = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex(sha256(canonical));
        byte[] key = ("AWS4" + secretKey).getBytes(StandardCharsets.UTF_8);
        for (String part : new String[] {date.substring(0, 8), region, "s3", "aws4_request"}) {
            key = hmac(key, part);
        }
        return new Signed(
                date,
                "AWS4-HMAC-SHA256 Credential=" + accessKey + "/" + scope + ", SignedHeaders=" + HEADERS + ", Signature="
                        + hex(hmac(key, toSign)));
    }

    /** A key as a path: unreserved characters and slashes as they are, all else by bytes. */
    static String path(String bucket, String key) {
        StringBuilder s = new StringBuilder("/");
        for (byte b : (bucket + "/" + key).getBytes(StandardCharsets.UTF_8)) {
            char c = (char) (b & 0xff);
            if (UNRESERVED.indexOf(c) >= 0) {
                s.append(c);
            } else {
                s.append('%').append(HexFormat.of().withUpperCase().toHexDigits(b));
            }
        }
        return s.toString();
    }

    private static String hex(byte[] raw) {
        return HexFormat.of().formatHex(raw);
    }

    private static byte[] sha256(String text) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] hmac(byte[] key, String text) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }
}
