package io.holdfast.storage.adapter.cli;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Folders;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Puller;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * {@code fetch CHECKPOINT FOLDER}: brings a checkpoint's images into {@code FOLDER/CHECKPOINT/<vm>/}, decrypted and whole, and its
 * manifest beside them as {@code checkpoint.json}. Needs the bucket only. The first half of {@code holdfast export}.
 */
final class FetchCommand {
    private static final int TRANSFERS = 8;

    private FetchCommand() {}

    static int run(List<String> words, PrintStream out) throws StorageException, IOException {
        if (words.size() != 2) {
            throw new UsageException();
        }
        String checkpoint = words.get(0);
        Path folder = Path.of(words.get(1)).toAbsolutePath().normalize();
        try (S3ObjectStore store = Settings.store()) {
            Keys keys = Settings.keys();
            Repository repository = new Repository(store, keys, RepositoryConfig.DEFAULT_CHUNK, Settings.key());
            CheckpointManifest manifest =
                    repository.checkpoint(checkpoint); // before anything is made: refused, it leaves nothing
            fetch(store, keys, repository, manifest, folder, out);
            return 0;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return 1;
        }
    }

    private static void fetch(
            S3ObjectStore store,
            Keys keys,
            Repository repository,
            CheckpointManifest manifest,
            Path folder,
            PrintStream out)
            throws StorageException, IOException, InterruptedException {
        String checkpoint = manifest.checkpoint();
        // beside the images: who ends this and removes the folder leaves nothing
        Path state = Files.createTempDirectory(Files.createDirectories(folder), ".fetch");
        try {
            repository.roomOfLarge(new MappedRoom(state));
            Files.createDirectories(folder.resolve(checkpoint));
            var settings = new io.holdfast.storage.app.Settings(
                    "export", folder, state, RepositoryConfig.DEFAULT_CHUNK, 1 << 24, 1, TRANSFERS);
            Indexes indexes = new Indexes(store, keys, repository, state);
            Puller puller = new Puller(store, keys, repository, indexes, new ZstdCodec(1), settings);
            for (VmArchive vm : manifest.vms()) {
                long bytes = puller.pull(checkpoint, null, List.of(vm.vm()), new Progress());
                out.println(vm.vm() + ": " + (bytes >> 20) + " MiB of data");
            }
            Files.write(
                    folder.resolve(checkpoint).resolve("checkpoint.json"),
                    EventCodec.json().writerWithDefaultPrettyPrinter().writeValueAsBytes(manifest));
        } finally {
            Folders.delete(state);
        }
    }
}
