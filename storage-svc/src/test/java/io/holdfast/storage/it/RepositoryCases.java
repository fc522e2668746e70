package io.holdfast.storage.it;

import static io.holdfast.storage.it.TestHost.archive;
import static io.holdfast.storage.it.TestHost.commit;
import static io.holdfast.storage.it.TestHost.failure;
import static io.holdfast.storage.it.TestHost.manifest;
import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** What holds on every S3 server, without a broker. */
abstract class RepositoryCases extends BucketTest {
    private static WrapKey key() throws StorageException {
        return WrapKey.parse("0123456789abcdef".repeat(4), "test");
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
    void encryptedImagesComeBackAndTheBucketShowsNothingOfThem() throws Exception {
        // Given
        TestHost one = host("h1", store, key());
        TestImage.write(one.image(CP, "a"), (16 << 20) + 4096, 1);
        byte[] chunk = new byte[65536];
        try (var in = Files.newInputStream(one.image(CP, "a").resolve("ram.img"))) {
            assertThat(in.readNBytes(chunk, 0, chunk.length)).isEqualTo(chunk.length);
        }

        // When
        Archiver.Result r = archive(one, CP, "a");
        commit(one, CP, r);
        TestHost two = host("h2", store, key());
        two.pull(CP, "a");

        // Then
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        ChunkId digest = ChunkId.of(chunk);
        List<String> objects = keys("");
        assertThat(objects).hasSizeGreaterThan(5);
        for (String p : objects) {
            String raw = new String(store.get(p, 1 << 26), StandardCharsets.ISO_8859_1);
            assertThat(raw)
                    .as("object %s", p)
                    .doesNotContain("struct page")
                    .doesNotContain("ram.img")
                    .doesNotContain("machine.json")
                    .doesNotContain("net-a")
                    .doesNotContain(new String(chunk, 0, 16, StandardCharsets.ISO_8859_1))
                    .doesNotContain(digest.hex())
                    .doesNotContain(new String(HexFormat.of().parseHex(digest.hex()), StandardCharsets.ISO_8859_1));
            assertThat(p).doesNotContain(digest.hex());
        }
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
        Archiver.Result second = archive(host("h2-new-state"), CP2);
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
    void wrongSecretIsRefusedAtOnceSayingWhatToDo() throws Exception {
        // Given
        TestHost one = host("h1", connect(endpoint(), "not-the-secret", Duration.ofSeconds(60)), null);
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
        StorageException e = failure(() -> connect(Duration.ofSeconds(1)).check(false));

        // Then
        assertThat(e).hasMessageContaining("never-made").hasMessageContaining("does not exist");
    }

    @Test
    void missingBucketIsNoMissingObject() throws Exception {
        // Given
        boolean there = store.size(KEYS.config()).isPresent();
        bucket = "never-made";

        // When
        StorageException size =
                failure(() -> connect(Duration.ofSeconds(1)).size(KEYS.config()).isPresent());
        StorageException get = failure(() -> connect(Duration.ofSeconds(1)).get(KEYS.config(), 100));

        // Then
        assertThat(there).isFalse();
        assertThat(size.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(size).hasMessageContaining("never-made");
        assertThat(get.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
    }

    @Test
    void objectTooLargeForTheHeapGoesFromMappedMemoryAndComesBackThere() throws Exception {
        // Given
        Room room = new MappedRoom(Files.createDirectories(folder.resolve("room")));
        ByteBuffer data = room.allocate(3 * Room.SMALL + 17);
        for (int i = 0; i + 8 <= data.limit(); i += 8) {
            data.putLong(i, i * 0x9E3779B97F4A7C15L);
        }
        String key = KEYS.vm(CP, "large");

        // When
        store.put(key, data);
        ByteBuffer back = store.get(key, 4 * Room.SMALL, room);
        StorageException refused = failure(() -> store.get(key, 2 * Room.SMALL, room));

        // Then
        assertThat(back.isDirect()).isTrue();
        assertThat(back).isEqualTo(data);
        assertThat(data.position()).isZero();
        assertThat(refused.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(refused).hasMessageContaining(key).hasMessageContaining("larger than the limit");
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
}
