package io.holdfast.storage.maintenance;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.SmallHeap;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The heap grows neither with a repository's chunks nor with a VM's. {@code -Dholdfast.large.chunks=40000000 -Dholdfast.large.vm=4194304} for large
 * ones; figures in docs/operations.md.
 */
class LargeRepositoryTest {
    @TempDir
    Path folder;

    private String run(String what, String heap, String chunks) throws Exception {
        String said = SmallHeap.run(
                System.getProperty("holdfast.large.heap", heap),
                LargeRepository.class,
                what,
                folder.toString(),
                chunks);
        try (var left = java.nio.file.Files.list(folder.resolve("state"))) {
            assertThat(left.filter(f -> f.toString().endsWith(".map"))).isEmpty();
        }
        return said;
    }

    @Test
    void aRepositoryOfMillionsOfChunksIsVerifiedCountedAndPrunedInASmallHeap() throws Exception {
        // the sets alone would take 64 MiB
        String said = run("keep", "48m", System.getProperty("holdfast.large.chunks", "1500000"));

        assertThat(said).contains("VERIFIED", "COUNTED", "PRUNED", "INDEXED");
    }

    @Test
    void aVmOfManyChunksIsArchivedAndPulledInASmallHeap() throws Exception {
        // with ids, manifest and its copies on the heap, 170 bytes a chunk, it would not
        String said = run("move", "48m", System.getProperty("holdfast.large.vm", "200000"));

        assertThat(said).contains("ARCHIVED", "PULLED");
    }
}
