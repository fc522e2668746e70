package io.holdfast.storage.maintenance;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.SparseMap.Extent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** An archive stores each chunk once. */
class ArchiverTest {
    @TempDir
    Path folder;

    @Test
    void whatAnArchiveStoredItselfIsFoundAgain_alsoAfterItsFirstIndexIsWritten() throws Exception {
        Path state = Files.createDirectories(folder.resolve("state"));
        Path images = folder.resolve("images");
        Path vm = Files.createDirectories(images.resolve("cp-1").resolve("a"));
        // 192 packs, of which an index names the first 128 when the second file comes, which is the same
        byte[] memory = new byte[192 * 16 * SimRepository.CHUNK];
        new Random(1).nextBytes(memory);
        Files.write(vm.resolve("disk-a"), memory);
        Files.write(vm.resolve("disk-b"), memory);
        var store = new FolderStore(folder.resolve("bucket"));
        var repository = new Repository(store, SimRepository.KEYS, SimRepository.CHUNK, null);
        var archiver = new Archiver(
                store,
                SimRepository.KEYS,
                repository,
                new Indexes(store, SimRepository.KEYS, repository, state),
                SimRepository.RAW,
                f -> List.of(new Extent(0, Files.size(f))),
                new Settings("h1", images, state, SimRepository.CHUNK, 16 * SimRepository.CHUNK, 1, 2));

        Archiver.Result r = archiver.archive("cp-1", List.of("a"), new Progress());

        assertThat(store.list(SimRepository.KEYS.indexes())).hasSize(2);
        assertThat(r.figures().dataBytes()).isEqualTo(2L * memory.length);
        assertThat(r.figures().newBytes()).isEqualTo(memory.length);
    }
}
