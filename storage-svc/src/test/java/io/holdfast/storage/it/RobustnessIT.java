package io.holdfast.storage.it;

import static io.holdfast.storage.it.TestHost.archive;
import static io.holdfast.storage.it.TestHost.commit;
import static io.holdfast.storage.it.TestHost.failure;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.holdfast.devstack.FaultProxy.Fault;
import io.holdfast.devstack.FaultProxy.Seen;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The repository on a real S3 server behind a proxy that does what networks and servers do at their worst. */
class RobustnessIT extends ProxiedBucketTest {
    private static final String NEXT = "cp-20260102t000000z-bbbbbb";

    @Override
    Duration silence() {
        return Duration.ofSeconds(2);
    }

    private static Predicate<Seen> put(String what) {
        return s -> s.method().equals("PUT") && s.path().contains(what);
    }

    private static Predicate<Seen> every(int n) {
        AtomicInteger count = new AtomicInteger();
        return s -> count.incrementAndGet() % n == 0;
    }

    private long putsOfPacks() {
        return proxy.seen().stream().filter(put("/packs/")).count();
    }

    private boolean exists(String key) {
        return Files.exists(object(key));
    }

    @ParameterizedTest
    @EnumSource(names = {"SLOW_DOWN", "INTERNAL_ERROR", "CUT_REQUEST", "CUT_ANSWER", "LOSE_ANSWER"})
    void faultsThatPassOnlyDelayWhateverTheyHit(Fault fault) throws Exception {
        // Given: every third request of any kind suffers
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 12 << 20, 1);
        AtomicInteger done = proxy.inject(fault, 0, every(3));

        // When
        Archiver.Result r = archive(one, CP, "a");
        commit(one, CP, r);
        TestHost two = host("h2");
        two.pull(CP, "a");

        // Then
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        assertThat(done.get()).isGreaterThan(5);
    }

    @Test
    void silenceIsGivenUpAndTriedAgain() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 8 << 20, 1);
        AtomicInteger puts = proxy.inject(Fault.SILENCE, 2, put("/packs/"));
        AtomicInteger gets = proxy.inject(
                Fault.SILENCE, 2, s -> s.method().equals("GET") && s.path().contains("/packs/"));

        // When
        commit(one, CP, archive(one, CP, "a"));
        TestHost two = host("h2");
        two.pull(CP, "a");

        // Then
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        assertThat(puts.get()).isEqualTo(2);
        assertThat(gets.get()).isEqualTo(2);
    }

    @ParameterizedTest
    @EnumSource(names = {"FULL", "QUOTA", "DENIED", "NO_BUCKET"})
    void refusalMidUploadFailsByCodeLeavesNoCheckpointAndTheRepeatUploadsOnlyTheRest(Fault fault) throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 32 << 20, 1);
        AtomicInteger passed = new AtomicInteger();
        Predicate<Seen> fourth = s -> put("/packs/").test(s) && passed.incrementAndGet() > 3;
        proxy.inject(fault, 0, fourth);
        long start = System.nanoTime();

        // When
        StorageException e = failure(() -> archive(one, CP, "a"));
        Duration took = Duration.ofNanos(System.nanoTime() - start);
        boolean manifest = exists(KEYS.vm(CP, "a"));
        proxy.heal();
        proxy.forget();
        Archiver.Result again = archive(one, CP, "a");
        long uploaded = putsOfPacks();
        commit(one, CP, again);

        // Then
        assertThat(e.code())
                .isEqualTo(
                        fault == Fault.FULL || fault == Fault.QUOTA
                                ? ErrorCode.REPOSITORY_FULL
                                : ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(e).hasMessageContaining("object some/prefix/packs/");
        assertThat(e.remedy()).contains("bucket " + bucket);
        assertThat(took).as("a refusal is not tried again").isLessThan(Duration.ofSeconds(20));
        assertThat(manifest).isFalse();
        assertThat(one.image(CP, "a").resolve("ram.img")).exists();
        long packs = store.list(KEYS.packs()).size();
        assertThat(uploaded).as("of %d packs", packs).isEqualTo(packs - 3);
        TestHost two = host("h2");
        two.pull(CP, "a");
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void whatAFailedArchiveUploadedIsUsedByTheNextOneOfAnotherCheckpointAndLeavesNoNotes() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 32 << 20, 1);
        TestImage.write(one.image(NEXT, "a"), 32 << 20, 1);
        AtomicInteger passed = new AtomicInteger();
        proxy.inject(Fault.FULL, 0, s -> put("/packs/").test(s) && passed.incrementAndGet() > 3);
        failure(() -> archive(one, CP, "a"));
        long before = store.list(KEYS.packs()).size();
        proxy.heal();
        proxy.forget();

        // When
        Archiver.Result next = archive(one, NEXT, "a");
        long uploaded = putsOfPacks();
        commit(one, NEXT, next);

        // Then
        assertThat(before).isEqualTo(3);
        assertThat(uploaded).isEqualTo(store.list(KEYS.packs()).size() - before);
        try (var notes = Files.list(one.state().resolve("uploads"))) {
            assertThat(notes).isEmpty();
        }
        TestHost two = host("h2");
        two.pull(NEXT, "a");
        TestImage.assertSame(one.image(NEXT, "a"), two.image(NEXT, "a"));
    }

    @Test
    void serverThatIsBusyForAWhileIsAskedEverMoreSeldom() throws Exception {
        // Given
        store = connect(Duration.ofSeconds(4));
        proxy.inject(Fault.SLOW_DOWN, 0, s -> true);
        proxy.forget();

        // When
        StorageException e = failure(() -> store.size(KEYS.config()));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(e).hasMessageContaining("object some/prefix/config").hasMessageContaining("tried");
        assertThat(e.remedy()).contains(proxy.endpoint());
        assertThat(proxy.seen().size()).isBetween(4, 15);
    }

    @Test
    void indexAndManifestThatCannotBeWrittenLeaveNoCheckpoint() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 4 << 20, 1);
        for (String step : List.of("/index/", "/vms/")) {
            AtomicInteger done = proxy.inject(Fault.DENIED, 0, put(step));

            // When
            StorageException e = failure(() -> archive(one, CP, "a"));
            proxy.heal();

            // Then
            assertThat(done.get()).isPositive();
            assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
            assertThat(e.remedy()).contains("rights");
            assertThat(exists(KEYS.vm(CP, "a"))).isFalse();
            assertThat(failure(() -> host("reader").pull(CP, "a")).code()).isEqualTo(ErrorCode.UNKNOWN_CHECKPOINT);
        }
        commit(one, CP, archive(one, CP, "a"));
        TestHost two = host("h2");
        two.pull(CP, "a");
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void commitWhoseAnswerIsLostIsDoneOnce() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        Archiver.Result r = archive(one, CP, "a");
        AtomicInteger done = proxy.inject(Fault.LOSE_ANSWER, 1, put("/checkpoints/"));

        // When
        commit(one, CP, r);

        // Then
        assertThat(done.get()).isEqualTo(1);
        TestHost two = host("h2");
        two.pull(CP, "a");
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void bucketThatVanishedIsNamedAndNoneIsMadeInItsPlace() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        Path data = base.resolve("s3/data");
        Files.move(data.resolve(bucket), folder.resolve("away"));

        // When
        StorageException pull = failure(() -> host("h2").pull(CP, "a"));
        StorageException archive = failure(() -> archive(one, CP, "a"));
        boolean made = Files.exists(data.resolve(bucket));
        Files.move(folder.resolve("away"), data.resolve(bucket));

        // Then
        for (StorageException e : List.of(pull, archive)) {
            assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
            assertThat(e).hasMessageContaining("NoSuchBucket");
            assertThat(e.remedy()).contains(bucket);
        }
        assertThat(made).isFalse();
        TestHost three = host("h3");
        three.pull(CP, "a");
        TestImage.assertSame(one.image(CP, "a"), three.image(CP, "a"));
    }

    @Test
    void answerBrokenOnItsWayIsReadAgainAndOneThatStaysBrokenIsRefused() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 4 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        Predicate<Seen> packs = s -> s.method().equals("GET") && s.path().contains("/packs/");

        // When
        AtomicInteger done = proxy.inject(Fault.FLIP_ANSWER, 1, packs);
        TestHost two = host("h2");
        two.pull(CP, "a");
        proxy.inject(Fault.FLIP_ANSWER, 0, packs);
        StorageException e = failure(() -> host("h3").pull(CP, "a"));

        // Then
        assertThat(done.get()).isEqualTo(1);
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(e).hasMessageContaining("object some/prefix/packs/");
    }

    /** Two sets of packs with the same chunks, each with its index; the bucket has the index of the first, and the packs of the second. */
    private TestHost twoSets() throws Exception {
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        Path root = object("some/prefix");
        move(root.resolve("packs"), folder.resolve("old-packs"));
        move(root.resolve("index"), folder.resolve("old-index"));
        TestHost other = host("other");
        TestImage.write(other.image("cp-other", "a"), 1 << 20, 1);
        archive(other, "cp-other", "a");
        move(root.resolve("index"), folder.resolve("new-index"));
        move(folder.resolve("old-index"), root.resolve("index"));
        return one;
    }

    @Test
    void packThatWasCollectedMeanwhileIsFoundAgainWhereItsChunksAreNow() throws Exception {
        // Given: the first of two sets of packs goes while a reader is at work
        TestHost one = twoSets();
        Path root = object("some/prefix");
        Predicate<Seen> firstRead = s -> s.method().equals("GET") && s.path().contains("/packs/");
        AtomicInteger reads = new AtomicInteger();
        proxy.inject(Fault.DENIED, 1, s -> {
            if (firstRead.test(s) && reads.incrementAndGet() == 1) {
                try {
                    move(root.resolve("index"), folder.resolve("old-index"));
                    move(folder.resolve("new-index"), root.resolve("index"));
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
            return false;
        });

        // When
        TestHost two = host("h2");
        two.pull(CP, "a");

        // Then
        assertThat(reads.get()).isGreaterThan(1);
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void aLookAtThePacksThatWasCutShortTellsTheNextOneToFindTheirChunksElsewhere() throws Exception {
        // Given: two sets of packs, and a host that knows both
        TestHost one = twoSets();
        Path root = object("some/prefix");
        List<Table> tables;
        try (var second = Files.list(folder.resolve("new-index"))) {
            tables = IndexFormat.decode(
                    "second", Files.readAllBytes(second.findFirst().orElseThrow()), false);
        }
        List<ChunkId> chunks = tables.stream()
                .flatMap(t -> t.content().stream().map(PackFormat.Entry::id))
                .toList();
        move(folder.resolve("old-packs"), root.resolve("packs"));
        move(folder.resolve("new-index"), root.resolve("index"));
        TestHost two = host("h2");
        Set<ChunkId> all = two.indexes().look(Set.of());
        Set<ChunkId> ofSecond = tables.stream().map(Table::id).collect(Collectors.toSet());
        boolean knowsSecond =
                ofSecond.contains(two.indexes().find(chunks.get(0)).pack());
        Set<ChunkId> gone =
                all.stream().filter(p -> ofSecond.contains(p) == knowsSecond).collect(Collectors.toSet());

        // When: those that it goes by vanish, and it cannot read the indexes when it sees that
        gone.forEach(p -> delete(object(KEYS.pack(p))));
        try (var copies = Files.list(two.state().resolve("index-cache"))) {
            copies.forEach(RobustnessIT::delete);
        }
        AtomicInteger denied = proxy.inject(
                Fault.DENIED, 0, s -> s.method().equals("GET") && s.path().contains("/index/"));
        StorageException e = failure(() -> two.indexes().look());
        proxy.heal();
        Set<ChunkId> left = two.indexes().look();

        // Then
        assertThat(denied.get()).isPositive();
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        assertThat(gone).isNotEmpty();
        assertThat(left).isNotEmpty().doesNotContainAnyElementsOf(gone);
        assertThat(chunks).isNotEmpty().allSatisfy(c -> assertThat(left)
                .contains(two.indexes().find(c).pack()));
        two.pull(CP, "a");
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void whoWaitsForARefreshThatHangsEndsWhenItIsInterrupted_andNothingStaysHeld() throws Exception {
        // Given: the service's own look at the indexes gets no answer
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 4 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        TestImage.write(one.image(CP2, "a"), 4 << 20, 2);
        AtomicInteger silent = proxy.inject(
                Fault.SILENCE, 0, s -> s.path().contains("prefix=") && s.path().contains("index%2F"));
        try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
            Future<Void> refresh = threads.submit(() -> {
                one.indexes().refresh();
                return null;
            });
            await("a listing in flight").until(() -> silent.get() > 0);
            AtomicReference<Thread> at = new AtomicReference<>();
            Future<StorageException> archive = threads.submit(() -> {
                at.set(Thread.currentThread());
                return failure(() -> archive(one, CP2, "a"));
            });
            await("the archive waits for it").until(() -> waitsForIndexes(at.get()));

            // When
            at.get().interrupt();

            // Then
            try {
                assertThat(archive.get(10, TimeUnit.SECONDS).code()).isEqualTo(ErrorCode.INTERRUPTED);
                assertThat(refresh.isDone()).as("the refresh still hangs").isFalse();
            } finally {
                proxy.heal();
            }
            refresh.get();
        }
        commit(one, CP2, archive(one, CP2, "a"));
        TestHost two = host("h2");
        two.pull(CP2, "a");
        TestImage.assertSame(one.image(CP2, "a"), two.image(CP2, "a"));
    }

    private static boolean waitsForIndexes(Thread t) {
        return t != null
                && (t.getState() == Thread.State.BLOCKED || t.getState() == Thread.State.WAITING)
                && Stream.of(t.getStackTrace())
                        .anyMatch(f -> f.getClassName().equals(Indexes.class.getName())
                                && f.getMethodName().equals("lease"))
                && Stream.of(t.getStackTrace()).noneMatch(f -> f.getClassName().equals(S3ObjectStore.class.getName()));
    }

    private static boolean listsPacks(Seen s) {
        return s.method().equals("GET")
                && s.path().contains("prefix=")
                && s.path().contains("packs%2F");
    }

    /** A host with a checkpoint, and images of a second that has all of it and something of its own. */
    private TestHost half() throws Exception {
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 12 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        TestImage.write(one.image(CP2, "a"), 12 << 20, 1);
        TestImage.write(one.image(CP2, "b"), 4 << 20, 2);
        return one;
    }

    /** These packs go when the first one is stored. Returns how many are stored, and has every request told. */
    private AtomicInteger vanish(List<String> packs, Consumer<Seen> each) {
        AtomicInteger puts = new AtomicInteger();
        proxy.inject(Fault.DENIED, 1, s -> {
            if (put("/packs/").test(s) && puts.incrementAndGet() == 1) {
                packs.forEach(k -> delete(object(k)));
            }
            each.accept(s);
            return false;
        });
        return puts;
    }

    @Test
    void packsThatVanishDuringAnArchiveAreUploadedAnew_beforeAnyManifestIsWritten() throws Exception {
        // Given: when the archive stores its first pack, all that it found there before are gone
        TestHost one = half();
        List<String> before = keys(KEYS.packs());
        AtomicInteger puts = vanish(before, s -> {});

        // When
        Archiver.Result r = archive(one, CP2, "a", "b");
        commit(one, CP2, r);

        // Then
        assertThat(puts.get()).isGreaterThan(before.size());
        assertThat(keys(KEYS.packs())).doesNotContainAnyElementsOf(before);
        TestHost two = host("h2");
        two.pull(CP2, "a", "b");
        TestImage.assertSame(one.image(CP2, "a"), two.image(CP2, "a"));
        TestImage.assertSame(one.image(CP2, "b"), two.image(CP2, "b"));
        two.pull(CP, "a");
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
    }

    @Test
    void packsThatVanishTogetherWithTheImageFailTheArchiveNamingAPackAndTheRemedy() throws Exception {
        // Given
        TestHost one = half();
        List<String> before = keys(KEYS.packs());
        vanish(before, s -> {
            if (put("/index/").test(s)) {
                delete(one.image(CP2, "a"));
            }
        });

        // When
        StorageException e = failure(() -> archive(one, CP2, "a", "b"));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        assertThat(e).hasMessageContaining("object " + before.get(0)).hasMessageContaining("vanished");
        assertThat(e).hasMessageContaining("image folder");
        assertThat(e.remedy()).contains("take another checkpoint");
        assertThat(exists(KEYS.vm(CP2, "a"))).isFalse();
        assertThat(exists(KEYS.vm(CP2, "b"))).isFalse();
    }

    private static void delete(Path path) {
        try {
            io.holdfast.storage.app.Folders.delete(path);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void lookingForPacksCostsAnArchiveOneListingAtItsBeginAndOneAtItsEnd() throws Exception {
        // Given: a repository that has all of the image, far away
        TestHost one = half();
        proxy.latency(Duration.ofMillis(100));
        proxy.forget();
        long start = System.nanoTime();

        // When
        Archiver.Result r = archive(one, CP2, "a");
        Duration took = Duration.ofNanos(System.nanoTime() - start);

        // Then
        assertThat(r.figures().newBytes()).isZero();
        assertThat(proxy.seen().stream().filter(RobustnessIT::listsPacks)).hasSize(2);
        assertThat(proxy.seen()).as("requests").hasSizeLessThan(10);
        assertThat(took).isLessThan(Duration.ofSeconds(5));
    }

    /** Moves the files of a folder into another. */
    private static void move(Path from, Path to) throws IOException {
        Files.createDirectories(to);
        try (var dir = Files.list(from)) {
            for (Path p : dir.toList()) {
                Files.move(p, to.resolve(p.getFileName()));
            }
        }
    }

    @Test
    void latencyDoesNotMultiplyByTheNumberOfChunks() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 128 << 20, 1);
        commit(one, CP, archive(one, CP, "a"));
        proxy.latency(Duration.ofMillis(100));
        TestHost two = host("h2");
        proxy.forget();
        long start = System.nanoTime();

        // When
        two.pull(CP, "a");

        // Then: over 1000 chunks of 64 KiB
        TestImage.assertSame(one.image(CP, "a"), two.image(CP, "a"));
        assertThat(proxy.seen().size()).isLessThan(120);
        assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(20));
    }

    @Test
    void archiveThatTakesLongerThanHalfOfTheGracePeriodFailsAsTooLate() throws Exception {
        // Given: every answer comes late
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 2 << 20, 1);
        one.repository().graceOfNew(Duration.ofSeconds(2));
        one.repository().open();
        proxy.latency(Duration.ofMillis(200));

        // When
        StorageException e = failure(() -> archive(one, CP, "a"));

        // Then: everything it wrote is there, and none of it counts
        assertThat(e.code()).isEqualTo(ErrorCode.TOO_LATE);
        assertThat(e).hasMessageContaining("longer than half of the repository's grace period");
        assertThat(exists(KEYS.vm(CP, "a"))).isTrue();
    }

    @Test
    void commitThatComesLaterThanHalfOfTheGracePeriodAfterItsImagesIsTakenBack() throws Exception {
        // Given: images that were archived long ago
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        Archiver.Result r = archive(one, CP, "a");
        Files.setLastModifiedTime(
                object(KEYS.vm(CP, "a")), FileTime.from(Instant.now().minus(Duration.ofHours(13))));

        // When
        StorageException e = failure(() -> commit(one, CP, r));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.TOO_LATE);
        assertThat(e).hasMessageContaining(KEYS.vm(CP, "a"));
        assertThat(exists(KEYS.checkpoint(CP))).isFalse();
    }

    @Test
    void commitOfACheckpointThatIsBeingRemovedIsTakenBack() throws Exception {
        // Given
        TestHost one = host("h1");
        TestImage.write(one.image(CP, "a"), 1 << 20, 1);
        Archiver.Result r = archive(one, CP, "a");
        store.put(KEYS.gone(CP), new byte[] {1}, 0, 1);

        // When
        StorageException e = failure(() -> commit(one, CP, r));

        // Then
        assertThat(e.code()).isEqualTo(ErrorCode.TOO_LATE);
        assertThat(exists(KEYS.checkpoint(CP))).isFalse();
    }
}
