package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.adapter.file.LinuxSparseMap;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Puller;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/** One host's side of a repository, without a broker: for tests against a real S3 server. */
record TestHost(
        S3ObjectStore store,
        Repository repository,
        Indexes indexes,
        Archiver archiver,
        Puller puller,
        Path images,
        Path state) {

    /** A host with folders of its own; chunks of 64 KiB, packs of 1 MiB. */
    static TestHost of(Path folder, String name, S3ObjectStore store, Keys keys, WrapKey key) throws IOException {
        Path images = Files.createDirectories(folder.resolve(name).resolve("images"));
        Path state = Files.createDirectories(folder.resolve(name).resolve("state"));
        Settings settings = new Settings(name, images, state, 65536, 1 << 20, 2, 4);
        Repository repository = new Repository(store, keys, 65536, key).roomOfLarge(new MappedRoom(state));
        Indexes indexes = new Indexes(store, keys, repository, state);
        ZstdCodec codec = new ZstdCodec(1);
        return new TestHost(
                store,
                repository,
                indexes,
                new Archiver(store, keys, repository, indexes, codec, new LinuxSparseMap(), settings),
                new Puller(store, keys, repository, indexes, codec, settings),
                images,
                state);
    }

    Path image(String checkpoint, String vm) {
        return images.resolve(checkpoint).resolve(vm);
    }

    long pull(String checkpoint, String... vms) throws StorageException, InterruptedException {
        return puller.pull(checkpoint, null, List.of(vms), new Progress());
    }

    static CheckpointManifest manifest(String checkpoint, List<VmArchive> vms) {
        return new CheckpointManifest(
                1,
                checkpoint,
                "net-a",
                null,
                Instant.parse("2026-01-01T00:00:00Z"),
                new InstanceLayout("net-a", null, List.of(), Map.of("lan", 100, "wan", 101)),
                vms,
                List.of(),
                new CutFigures(List.of()));
    }

    static Archiver.Result archive(TestHost h, String checkpoint, String... vms) throws Exception {
        return h.archiver().archive(checkpoint, List.of(vms), new Progress());
    }

    static void commit(TestHost h, String checkpoint, Archiver.Result... results) throws Exception {
        List<VmArchive> all = new ArrayList<>();
        for (Archiver.Result r : results) {
            all.addAll(r.vms());
        }
        h.repository().commit(manifest(checkpoint, all));
    }

    static StorageException failure(ThrowingCallable what) {
        StorageException e = catchThrowableOfType(StorageException.class, what);
        assertThat(e).as("the failure").isNotNull();
        return e;
    }
}
