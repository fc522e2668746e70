package io.holdfast.storage.app;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The heap does not grow with the repository. {@code -Dholdfast.index.chunks=40000000} for a large one; figures in docs/operations.md. */
class LargeIndexTest {
    @TempDir
    Path folder;

    @Test
    void anIndexOfMillionsOfChunksFitsIntoASmallHeap() throws Exception {
        // 2 million chunks took 140 to 280 MiB on the heap
        String chunks = System.getProperty("holdfast.index.chunks", "2000000");
        Process p = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xmx" + System.getProperty("holdfast.index.heap", "64m"),
                        "-XX:+UseSerialGC",
                        "-cp",
                        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                        LargeIndex.class.getName(),
                        folder.toString(),
                        chunks)
                .redirectErrorStream(true)
                .start();

        String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

        System.out.print(said);
        assertThat(p.waitFor()).as(said).isZero();
        assertThat(said).contains("CHUNKS " + Long.parseLong(chunks) / 256 * 256);
        try (var left = java.nio.file.Files.list(folder)) {
            assertThat(left).isEmpty();
        }
    }
}
