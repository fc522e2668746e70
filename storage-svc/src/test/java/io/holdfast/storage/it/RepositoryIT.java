package io.holdfast.storage.it;

import static io.holdfast.storage.it.TestHost.archive;
import static io.holdfast.storage.it.TestHost.commit;
import static io.holdfast.storage.it.TestHost.failure;
import static io.holdfast.storage.it.TestHost.manifest;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.holdfast.devstack.ProcessKit;
import io.holdfast.devstack.S3Server;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** The repository on a real S3 server, without a broker. Each test has a bucket of its own. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RepositoryIT {
    private static final String CP = "cp-20260101t000000z-abcdef";
    private static final String CP2 = "cp-20260101t000100z-abcdef";
    private static final Keys KEYS = new Keys("some/prefix");

    @TempDir
    static Path base;

    private S3Server s3;
    private int tests;
    private String bucket;
    private Path folder;
    private final List<S3ObjectStore> stores = new ArrayList<>();

    @BeforeAll
    void start() {
        s3 = S3Server.start(base.resolve("s3"), 0);
    }

    @AfterAll
    void stop() {
        s3.close();
    }

    @BeforeEach
    void fresh() throws Exception {
        tests++;
        bucket = "bucket-" + tests;
        folder = Files.createDirectories(base.resolve("t" + tests));
        store(s3.secretKey(), Duration.ofSeconds(60)).check(true);
    }

    @AfterEach
    void end() {
        stores.forEach(S3ObjectStore::close);
        stores.clear();
    }

    private S3ObjectStore store(String secret, Duration retry) {
        S3ObjectStore s = new S3ObjectStore(
                new S3ObjectStore.Access(s3.endpoint(), "us-east-1", s3.accessKey(), secret, bucket, retry));
        stores.add(s);
        return s;
    }

    private TestHost host(String name) throws IOException {
        return host(name, store(s3.secretKey(), Duration.ofSeconds(60)));
    }

    private TestHost host(String name, S3ObjectStore store) throws IOException {
        return TestHost.of(folder, name, store, KEYS, null);
    }

    private Path object(String key) {
        return base.resolve("s3/data").resolve(bucket).resolve(key);
    }

    @Test
    void imagesComeBackByteForByteWithTheirHoles() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), (48 << 20) + 4096, 1);
        TestImage.write(one.image(CP, "b"), 8 << 20, 2);

        // When
        Archiver.Result r = archive(one, CP, "a", "b");
        commit(one, CP, r);
        TestHost two = host("h2");
        Progress progress = new Progress();
        two.puller().pull(CP, KEYS.checkpoint(CP), List.of("a", "b"), progress);

        // Then
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        TestImage.assertSame(one.image(CP, "b"), two.image(CP, "b"));
        assertThat(progress.done())
                .isEqualTo(progress.total())
                .isEqualTo(r.figures().dataBytes());
        assertThat(r.figures().logicalBytes()).isGreaterThan(56 << 20);
        assertThat(r.figures().storedBytes()).isLessThan(r.figures().dataBytes());
    }

    @Test
    void secondCheckpointOfAlmostTheSameUploadsAlmostNothing() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 32 << 20, 1);
        Archiver.Result first = archive(one, CP, "a");
        TestImage.write(one.image(CP2, "a"), 32 << 20, 1);
        try (FileChannel c = FileChannel.open(one.image(CP2, "a").resolve("ram.img"), StandardOpenOption.WRITE)) {
            c.write(ByteBuffer.wrap(new byte[] {7, 7, 7}), 5_000_000);
        }

        // When
        Archiver.Result second = archive(host("h2-new-state", one.store()), CP2);
        Archiver.Result changed = archive(one, CP2, "a");

        // Then
        assertThat(second.vms()).isEmpty();
        assertThat(changed.figures().newBytes()).isEqualTo(65536);
        assertThat(changed.figures().storedBytes()).isLessThan(first.figures().storedBytes() / 20);
    }

    @Test
    void repeatedArchiveGivesTheSameManifestAndNoNewData() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 16 << 20, 1);
        Archiver.Result first = archive(one, CP, "a");

        // When
        Archiver.Result again = archive(one, CP, "a");

        // Then
        assertThat(again.vms()).isEqualTo(first.vms());
        assertThat(again.figures().newBytes()).isZero();
    }

    @Test
    void twoServicesThatArchiveAtOnceBothSucceedAndBothCanBePulled() throws Exception {
        // Given
        TestHost one = host("h1");
        TestHost two = host("h2");
        TestImage.write(one.image(CP, "a"), 24 << 20, 5);
        TestImage.write(two.image(CP, "b"), 24 << 20, 5);

        // When
        Archiver.Result ra;
        Archiver.Result rb;
        try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
            Future<Archiver.Result> a = threads.submit(() -> archive(one, CP, "a"));
            Future<Archiver.Result> b = threads.submit(() -> archive(two, CP, "b"));
            ra = a.get();
            rb = b.get();
        }
        commit(one, CP, ra, rb);
        TestHost three = host("h3");
        three.puller().pull(CP, null, List.of("a", "b"), new Progress());

        // Then
        TestImage.assertSame(one.image(CP, "a"), three.image(CP, "a"));
        TestImage.assertSame(two.image(CP, "b"), three.image(CP, "b"));
    }

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
        TestHost one = host("h1", store(s3.secretKey(), Duration.ofMillis(500)));
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

    private Path somePack(TestHost h) throws Exception {
        Stored s = h.store().list(KEYS.packs()).get(0);
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
    void wrongSecretIsRefusedAtOnceSayingWhatToDo() throws Exception {
        // Given
        TestHost one = host("h1", store("not-the-secret", Duration.ofSeconds(60)));
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        long start = System.nanoTime();

        // When
        StorageException e = failure(() -> archive(one, CP, "a"));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(e.getMessage()).contains("403");
        assertThat(e.remedy()).contains("secret-key");
        assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(30));
    }

    @Test
    void missingBucketIsNamed() {
        // Given
        bucket = "never-made";

        // When
        StorageException e =
                failure(() -> store(s3.secretKey(), Duration.ofSeconds(1)).check(false));

        // Then
        assertThat(e).hasMessageContaining("never-made").hasMessageContaining("does not exist");
    }

    @Test
    void commitIsTheSameTwiceAndRefusedWithOtherContentOrWithoutItsVms() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        Archiver.Result r = archive(one, CP, "a");
        CheckpointManifest m = manifest(CP, r.vms());
        Repository.Committed first = one.repository().commit(m);

        // When
        Repository.Committed again = host("h2").repository().commit(m);
        StorageException other = failure(() -> one.repository().commit(manifest(CP, List.of())));
        StorageException missing = failure(() -> one.repository()
                .commit(manifest(
                        CP2,
                        List.of(new VmArchive(
                                "a", KEYS.vm(CP2, "a"), r.vms().get(0).manifestSha256())))));

        // Then
        assertThat(again).isEqualTo(first);
        assertThat(other).hasMessageContaining("other content");
        assertThat(missing).hasMessageContaining(KEYS.vm(CP2, "a")).hasMessageContaining("missing");
        assertThat(one.repository().exists(CP2)).isFalse();
    }

    @Test
    void conditionalPutLetsOneOfManyWin() throws Exception {
        // Given
        S3ObjectStore store = store(s3.secretKey(), Duration.ofSeconds(60));

        // When
        List<CompletableFuture<Boolean>> all = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            byte[] data = {(byte) i};
            all.add(CompletableFuture.supplyAsync(() -> {
                try {
                    return store.putIfAbsent("raced", data);
                } catch (StorageException e) {
                    throw new IllegalStateException(e);
                }
            }));
        }

        // Then
        assertThat(all.stream().filter(CompletableFuture::join).count()).isEqualTo(1);
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
    void unknownCheckpointAndUnknownImageAreSaid() throws Exception {
        // Given
        TestHost one = host("h1");

        // When
        StorageException pull = failure(() -> one.puller().pull(CP, null, List.of("a"), new Progress()));
        StorageException archive = failure(() -> archive(one, CP, "a"));

        // Then
        assertThat(pull.code()).isEqualTo(ErrorCode.UNKNOWN_CHECKPOINT);
        assertThat(archive.code()).isEqualTo(ErrorCode.FILE_UNAVAILABLE);
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

    @Test
    void nobodyListeningGivesACodedFailureWithinTheRetryTime() {
        // Given
        S3ObjectStore nobody = new S3ObjectStore(new S3ObjectStore.Access(
                "http://127.0.0.1:" + ProcessKit.freePort(),
                "us-east-1",
                "key",
                "secret-key",
                bucket,
                Duration.ofMillis(300)));
        stores.add(nobody);

        // When
        StorageException e = failure(() -> nobody.size("config"));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(e).hasMessageContaining("object config").hasMessageContaining("tried");
    }
}
