package io.holdfast.storage.app;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.SmallHeap;
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

        String said = SmallHeap.run(
                System.getProperty("holdfast.index.heap", "64m"), LargeIndex.class, folder.toString(), chunks);

        assertThat(said).contains("CHUNKS " + Long.parseLong(chunks) / 256 * 256);
        try (var left = java.nio.file.Files.list(folder)) {
            assertThat(left).isEmpty();
        }
    }
}
