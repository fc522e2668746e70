package io.holdfast.storage.domain;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/** Reads objects as large as they may be, made so as to become as much as they can in memory. Says what each of them came to. */
public final class HostileJson {
    private HostileJson() {}

    /** A text with something in it over and over again, until it is as large as it may be. */
    private static byte[] full(String begin, String again, String end, int limit) {
        byte[] data = new byte[limit];
        Arrays.fill(data, (byte) ' ');
        byte[] b = begin.getBytes(StandardCharsets.US_ASCII);
        byte[] a = again.getBytes(StandardCharsets.US_ASCII);
        byte[] e = end.getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(b, 0, data, 0, b.length);
        int at = b.length;
        while (at + a.length + e.length <= limit) {
            System.arraycopy(a, 0, data, at, a.length);
            at += a.length;
        }
        System.arraycopy(e, 0, data, at - (again.endsWith(",") ? 1 : 0), e.length);
        return data;
    }

    /** The program. */
    public static void main(String[] args) {
        String id = '"' + "ab".repeat(32) + '"';
        for (var hostile : List.of(
                List.of("{\"format\":1,\"packs\":[", "[],", "],\"manifests\":[]}"),
                List.of("{\"format\":1,\"packs\":[", "\"\",", "],\"manifests\":[]}"),
                List.of("{\"format\":1,\"packs\":[", id + ",", "],\"manifests\":[]}"),
                List.of("{\"format\":1,\"packs\":[],\"manifests\":[", "\"a\",", "]}"),
                List.of("{\"format\":1,\"packs\":[],\"manifests\":[\"", "a", "\"]}"),
                List.of("{\"format\":1,\"x\":[", "{},", "]}"),
                List.of("", "[", ""))) {
            byte[] data = full(hostile.get(0), hostile.get(1), hostile.get(2), Limits.MAX_MARK);
            try {
                System.out.println(
                        "MARK of " + Mark.decode("gc/mark-x", data).packs().size());
            } catch (StorageException e) {
                System.out.println("REFUSED " + e.getMessage() + "; " + e.remedy());
            }
        }
        Keys keys = new Keys("");
        for (var hostile : List.of(
                List.of("{\"format\":1,\"checkpoint\":\"cp-1\",\"vms\":[", "{},", "]}"),
                List.of("{\"format\":1,\"checkpoint\":\"cp-1\",\"machines\":[", "{},", "]}"),
                List.of("{\"format\":1,\"checkpoint\":\"cp-1\",\"layout\":{\"hosts\":[", "{},", "]}}"),
                List.of("{\"format\":1,\"checkpoint\":\"cp-1\",\"label\":\"", "a", "\"}"),
                List.of("{\"format\":1,\"x\":[", "[],", "]}"),
                List.of("", "{\"a\":", ""))) {
            byte[] data = full(hostile.get(0), hostile.get(1), hostile.get(2), Limits.MAX_CHECKPOINT_MANIFEST);
            try {
                System.out.println(
                        "MANIFEST of " + Manifests.decode(keys, "cp-1", data).checkpoint());
            } catch (StorageException e) {
                System.out.println("REFUSED " + e.getMessage());
            }
        }
        System.out.println("READ ALL");
    }
}
