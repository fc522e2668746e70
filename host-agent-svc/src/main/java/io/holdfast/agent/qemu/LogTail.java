package io.holdfast.agent.qemu;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** The end of QEMU's log. */
final class LogTail {
    private static final int MAX = 1500;

    private LogTail() {}

    static long size(Path log) {
        try {
            return Files.size(log);
        } catch (IOException e) {
            return 0;
        }
    }

    /** The last lines from that byte on as one line; empty when there are none. */
    static String of(Path log, long from) {
        try (var file = new RandomAccessFile(log.toFile(), "r")) {
            long start = Math.max(Math.min(from, file.length()), file.length() - MAX);
            byte[] b = new byte[(int) (file.length() - start)];
            file.seek(start);
            file.readFully(b);
            return new String(b, StandardCharsets.UTF_8)
                    .strip()
                    .replace("qemu-system-x86_64: ", "")
                    .replaceAll("\\s*\\n\\s*", " | ");
        } catch (IOException e) {
            return "";
        }
    }
}
