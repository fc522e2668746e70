package io.holdfast.storage.it;

import static io.holdfast.storage.it.TestHost.archive;
import static io.holdfast.storage.it.TestHost.commit;
import static io.holdfast.storage.it.TestHost.failure;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.holdfast.devstack.ProcessKit;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.SparseMap;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** The repository when server, bucket or files fail. */
class RepositoryIT extends RepositoryCases {
    @Test
    void serverThatDiesMidUploadAndComesBackDelaysTheArchiveOnly() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 256 << 20, 6);
        Path notes = one.state().resolve("uploads").resolve(CP);

        // When
        try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
            Future<Archiver.Result> running = thread.submit(() -> archive(one, CP, "a"));
            await("first packs")
                    .atMost(Duration.ofSeconds(60))
                    .pollInterval(Duration.ofMillis(5))
                    .until(() -> {
                        if (!Files.isDirectory(notes)) {
                            return running.isDone();
                        }
                        try (var dir = Files.list(notes)) {
                            return running.isDone() || dir.count() > 2;
                        }
                    });
            assertThat(running.isDone())
                    .as("ended before the server was killed")
                    .isFalse();
            s3.kill();
            s3.resume();
            commit(one, CP, running.get());
        }
        TestHost two = host("h2");
        two.puller().pull(CP, null, List.of("a"), new Progress());

        // Then
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void serverThatStaysAwayGivesACodedFailureAndARepeatUploadsOnlyTheRest() throws Exception {
        // Given
        TestHost one = host("h1", connect(Duration.ofMillis(500)), null);
        TestImage.write(one.image(CP, "a"), 256 << 20, 7);
        Path notes = one.state().resolve("uploads").resolve(CP);
        StorageException e;
        try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
            Future<StorageException> running = thread.submit(() -> failure(() -> archive(one, CP, "a")));
            await("first packs")
                    .atMost(Duration.ofSeconds(60))
                    .pollInterval(Duration.ofMillis(5))
                    .until(() -> {
                        if (!Files.isDirectory(notes)) {
                            return running.isDone();
                        }
                        try (var dir = Files.list(notes)) {
                            return running.isDone() || dir.count() > 2;
                        }
                    });
            s3.kill();
            e = running.get();
        } finally {
            s3.resume();
        }
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(e.getMessage()).contains("object some/prefix/packs/");

        // When
        Archiver.Result again = archive(one, CP, "a");
        commit(one, CP, again);

        // Then
        assertThat(again.figures().newBytes()).isLessThan(again.figures().dataBytes() - (2 << 20));
        TestHost two = host("h2");
        two.puller().pull(CP, null, List.of("a"), new Progress());
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    /** The largest: what threads of the archive put into the others may be a few bytes. */
    private Path somePack(TestHost h) throws Exception {
        Stored s = h.store().list(KEYS.packs()).stream()
                .max(Comparator.comparingLong(Stored::bytes))
                .orElseThrow();
        return object(s.key());
    }

    private TestHost archived() throws Exception {
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 8);
        commit(one, CP, archive(one, CP, "a"));
        return one;
    }

    @Test
    void packWithAFlippedBitIsRefusedNamingItAndNoImageAppears() throws Exception {
        // Given
        Path pack = somePack(archived());
        try (FileChannel c = FileChannel.open(pack, StandardOpenOption.WRITE, StandardOpenOption.READ)) {
            ByteBuffer one = ByteBuffer.allocate(1);
            c.read(one, 5000);
            c.write(ByteBuffer.wrap(new byte[] {(byte) (one.get(0) ^ 4)}), 5000);
        }
        TestHost two = host("h2");

        // When
        StorageException e = failure(() -> two.puller().pull(CP, null, List.of("a"), new Progress()));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(e.getMessage()).contains(pack.getFileName().toString());
        assertThat(two.images().resolve(CP)).isEmptyDirectory();
    }

    @Test
    void truncatedPackIsRefusedNamingIt() throws Exception {
        // Given
        Path pack = somePack(archived());
        try (FileChannel c = FileChannel.open(pack, StandardOpenOption.WRITE)) {
            c.truncate(3000);
        }
        TestHost two = host("h2");

        // When
        StorageException e = failure(() -> two.puller().pull(CP, null, List.of("a"), new Progress()));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(e.getMessage()).contains(pack.getFileName().toString());
    }

    @Test
    void missingPackAndMissingIndexAreNamed() throws Exception {
        // Given
        TestHost one = archived();
        Path pack = somePack(one);
        Files.delete(pack);

        // When
        StorageException noPack = failure(() -> host("h2").puller().pull(CP, null, List.of("a"), new Progress()));
        Files.delete(object(one.store().list(KEYS.indexes()).get(0).key()));
        StorageException noIndex = failure(() -> host("h3").puller().pull(CP, null, List.of("a"), new Progress()));

        // Then
        assertThat(noPack).hasMessageContaining(pack.getFileName().toString()).hasMessageContaining("missing");
        assertThat(noIndex.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(noIndex).hasMessageContaining("no index names");
    }

    @Test
    void changedVmManifestIsRefusedByTheDigestInTheCheckpointsManifest() throws Exception {
        // Given
        TestHost one = archived();
        TestImage.write(one.image(CP2, "a"), 1 << 20, 9);
        archive(one, CP2, "a");
        Path first = object(KEYS.vm(CP, "a"));
        Files.write(first, Files.readAllBytes(object(KEYS.vm(CP2, "a"))));

        // When
        StorageException e = failure(() -> host("h2").puller().pull(CP, null, List.of("a"), new Progress()));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(e).hasMessageContaining(KEYS.vm(CP, "a"));
    }

    @Test
    void configThatIsGoneIsNotMadeAnewOverWhatIsThere() throws Exception {
        // Given
        archived();
        Files.delete(object(KEYS.config()));

        // When
        StorageException e = failure(() -> host("h2").pull(CP, "a"));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(e).hasMessageContaining(KEYS.config()).hasMessageContaining("is gone");
        assertThat(object(KEYS.config())).doesNotExist();
    }

    @Test
    void completeLocalImageIsLeftAsItIsAndABrokenOneIsReplaced() throws Exception {
        // Given
        TestHost one = archived();
        TestHost two = host("h2");

        // When
        long kept = one.puller().pull(CP, null, List.of("a"), new Progress());
        TestImage.write(two.image(CP, "a"), 1 << 20, 8);
        Files.writeString(two.image(CP, "a").resolve("machine.json"), "{\"format\":1,\"seed\":9}");
        long pulled = two.puller().pull(CP, null, List.of("a"), new Progress());

        // Then
        assertThat(kept).isZero();
        assertThat(pulled).isPositive();
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        try (var left = Files.list(two.images().resolve(CP))) {
            assertThat(left).hasSize(1);
        }
    }

    @Test
    void linkInAnImageFolderIsRefused() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        Files.createSymbolicLink(one.image(CP, "a").resolve("disk-x"), Path.of("/etc/passwd"));

        // When
        StorageException e = failure(() -> archive(one, CP, "a"));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.FILE_UNAVAILABLE);
        assertThat(e).hasMessageContaining("disk-x");
    }

    /** Files without a name of a host's state folder that this process has open. */
    private static long openRoom(TestHost h) throws IOException {
        try (var fds = Files.list(Path.of("/proc/self/fd"))) {
            return fds.filter(fd -> {
                        try {
                            String file = Files.readSymbolicLink(fd).toString();
                            return file.startsWith(h.state().toString()) && file.endsWith(" (deleted)");
                        } catch (IOException e) {
                            return false; // closed meanwhile
                        }
                    })
                    .count();
        }
    }

    @Test
    void anArchiveThatCannotOpenAnImageLeavesNoFileOpen() throws Exception {
        // Given: an image so large that its ids are in mapped files, and that is gone when it is to be opened
        TestHost h = host("h1");
        TestImage.write(h.image(CP, "a"), 1 << 20, 1);
        Path ram = h.image(CP, "a").resolve("ram.img");
        SparseMap sparse = file -> {
            Files.delete(ram);
            return List.of(new SparseMap.Extent(0, 4L << 30));
        };
        Archiver archiver = new Archiver(
                store,
                KEYS,
                h.repository(),
                h.indexes(),
                new ZstdCodec(1),
                sparse,
                new Settings("h1", h.images(), h.state(), 65536, 1 << 20, 2, 4));
        try (FileChannel c = FileChannel.open(ram, StandardOpenOption.WRITE)) {
            c.write(ByteBuffer.allocate(1), (4L << 30) - 1);
        }
        long before = openRoom(h);

        // When
        StorageException e = failure(() -> archiver.archive(CP, List.of("a"), new Progress()));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.IO_FAILED);
        assertThat(openRoom(h)).isEqualTo(before);
    }

    @Test
    void aCopyOfAnIndexThatIsCutShortWhileItIsReadIsReadFromTheBucket() throws Exception {
        // Given: a copy that is mapped, and loses its content as soon as that is seen
        TestHost one = archived();
        TestHost two = host("h2");
        String index = one.store().list(KEYS.indexes()).get(0).key();
        Path copy = two.state().resolve("index-cache").resolve(index.substring(index.lastIndexOf('/') + 1));
        try (FileChannel c = FileChannel.open(copy, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            c.write(ByteBuffer.allocate(1), (1L << 30) - 1);
        }
        AtomicBoolean seen = new AtomicBoolean();
        Thread cutter = new Thread(() -> {
            try {
                while (!seen.get() && !Thread.interrupted()) {
                    seen.set(Files.readString(Path.of("/proc/self/maps")).contains(copy.toString()));
                }
                try (FileChannel c = FileChannel.open(copy, StandardOpenOption.WRITE)) {
                    c.truncate(0);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
        cutter.start();

        // When
        two.pull(CP, "a");
        cutter.interrupt();
        cutter.join();

        // Then
        assertThat(seen).as("the copy was mapped").isTrue();
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        assertThat(ChunkId.of(Files.readAllBytes(copy)).hex())
                .as("the copy is whole again")
                .isEqualTo(copy.getFileName().toString());
    }

    @Test
    void nobodyListeningGivesACodedFailureWithinTheRetryTime() {
        // Given
        S3ObjectStore nobody =
                connect("http://127.0.0.1:" + ProcessKit.freePort(), "secret-key", Duration.ofMillis(300));

        // When
        StorageException e = failure(() -> nobody.size("config"));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(e).hasMessageContaining("object config").hasMessageContaining("tried");
    }
}
