package io.holdfast.storage.adapter.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.storage.adapter.file.LinuxSparseMap;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Folders;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;

/**
 * {@code store FOLDER/CHECKPOINT}: takes the images in {@code FOLDER/CHECKPOINT/<vm>/} into the repository as the checkpoint whose manifest,
 * without archives, is {@code FOLDER/CHECKPOINT/checkpoint.json}. Needs the bucket only. The second half of {@code holdfast import}.
 */
final class StoreCommand {
    private static final int WORKERS = 2;
    private static final int TRANSFERS = 4;
    private static final int PACK = 1 << 24;

    private StoreCommand() {}

    static int run(List<String> words, PrintStream out) throws StorageException, IOException {
        if (words.size() != 1) {
            throw new UsageException();
        }
        Path folder = Path.of(words.get(0)).toRealPath();
        String checkpoint = folder.getFileName().toString();
        Names.require("checkpoint", checkpoint);
        CheckpointManifest m = manifest(folder.resolve("checkpoint.json"));
        List<String> vms;
        try (var list = Files.list(folder)) {
            vms = list.filter(p -> Files.isDirectory(p, LinkOption.NOFOLLOW_LINKS))
                    .map(p -> p.getFileName().toString())
                    .sorted()
                    .toList();
        }
        Path state = Files.createTempDirectory("holdfast-store");
        try (S3ObjectStore store = Settings.store()) {
            Keys keys = Settings.keys();
            Repository repository = new Repository(store, keys, RepositoryConfig.DEFAULT_CHUNK, Settings.key())
                    .roomOfLarge(new MappedRoom(state));
            var settings = new io.holdfast.storage.app.Settings(
                    "import", folder.getParent(), state, RepositoryConfig.DEFAULT_CHUNK, PACK, WORKERS, TRANSFERS);
            Indexes indexes = new Indexes(store, keys, repository, state);
            Archiver archiver =
                    new Archiver(store, keys, repository, indexes, new ZstdCodec(1), new LinuxSparseMap(), settings);
            Archiver.Result r = archiver.archive(checkpoint, vms, new Progress());
            repository.commit(new CheckpointManifest(
                    m.format(),
                    checkpoint,
                    m.instance(),
                    m.label(),
                    m.takenAt(),
                    m.layout(),
                    r.vms(),
                    m.machines(),
                    m.cut()));
            out.printf(
                    "stored checkpoint %s of %s: %d MiB of data, %d MiB uploaded%n",
                    checkpoint,
                    m.instance(),
                    r.figures().dataBytes() >> 20,
                    r.figures().storedBytes() >> 20);
            return 0;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return 1;
        } finally {
            Folders.delete(state);
        }
    }

    private static CheckpointManifest manifest(Path file) throws StorageException, IOException {
        try {
            return EventCodec.json().readValue(Files.readAllBytes(file), CheckpointManifest.class);
        } catch (JsonProcessingException e) {
            throw new StorageException(
                    ErrorCode.INVALID_EVENT,
                    file + " is no checkpoint's manifest: " + e.getOriginalMessage(),
                    "import again",
                    e);
        }
    }
}
