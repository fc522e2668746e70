package io.holdfast.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafepointsTest {
    @TempDir
    Path folder;

    @Test
    void aJvmsOwnLogIsReadWithTimesAndLengths() throws Exception {
        // Given the log of a JVM of this version that has collected garbage once
        Path log = folder.resolve("log");
        Instant before = Instant.now();
        Process jvm = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:+UseSerialGC",
                        "-Xlog:gc",
                        "-Xlog:safepoint:file=" + log + ":utctime",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Collects.class.getName())
                .redirectErrorStream(true)
                .start();
        String out = new String(jvm.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        assertThat(jvm.waitFor()).as(out).isZero();
        Instant after = Instant.now();

        // When
        var pauses = Safepoints.read(log);

        // Then
        assertThat(Files.readString(log)).contains("Safepoint");
        assertThat(pauses).isNotEmpty().allSatisfy(p -> {
            assertThat(p.nanos()).isPositive();
            assertThat(p.endMicros() / 1000).isBetween(before.toEpochMilli() - 1, after.toEpochMilli() + 1);
            assertThat(p.overlaps(p.endMicros(), p.endMicros())).isTrue();
            assertThat(p.overlaps(p.endMicros() + 2_000, p.endMicros() + 3_000)).isFalse();
        });
        assertThat(pauses).anyMatch(p -> p.why().contains("Collect"));
    }

    /** A program whose JVM stands once at least. */
    static final class Collects {
        public static void main(String[] args) {
            System.gc();
        }
    }
}
