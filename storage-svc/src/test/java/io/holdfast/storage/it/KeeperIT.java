package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance.Damage;
import io.holdfast.schemas.event.Maintenance.ForgetEntry;
import io.holdfast.schemas.event.Maintenance.ForgetResult;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.schemas.event.Maintenance.RebuildResult;
import io.holdfast.schemas.event.Maintenance.StatsResult;
import io.holdfast.schemas.event.Maintenance.VerifyResult;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Inspector;
import io.holdfast.storage.domain.Mark;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.WrapKey;
import io.holdfast.storage.maintenance.Keeper;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Work on a repository on a real S3 server: damage is found and named, what is forgotten goes, what is needed stays. */
class KeeperIT extends BucketTest {
    static final String CP1 = "cp-20260101t000000z-aaaaaa";
    static final String CP2 = "cp-20260102t000000z-bbbbbb";
    /** Long enough for an upload on a busy machine, short enough to wait for. */
    static final Duration SHORT = Duration.ofSeconds(30);

    TestHost host;
    private Keeper keeper;

    @BeforeEach
    void fresh() throws Exception {
        use(null);
    }

    private void use(WrapKey key) throws Exception {
        use(key, Duration.ofDays(1));
    }

    void use(WrapKey key, Duration grace) throws Exception {
        host = host("h1", store, key);
        host.repository().graceOfNew(grace);
        keeper = keeper(store);
    }

    private Keeper keeper(ObjectStore its) {
        Repository repository = its == store ? host.repository() : new Repository(its, KEYS, 65536, null);
        return keeper(its, repository, host.state());
    }

    private static Command.Header header(String phase) {
        return new Command.Header("op-1", null, "h1", phase, 1, 1);
    }

    private final List<Report.Found> found = new ArrayList<>();

    private Report run(Command.ForRepository c) throws Exception {
        return keeper.execute(c, new Progress(), r -> found.add((Report.Found) r));
    }

    VerifyResult verify(String checkpoint, int percent) throws Exception {
        return ((Report.Verified) run(new Command.Verify(header("verify"), checkpoint, percent))).result();
    }

    PruneResult prune(boolean dryRun) throws Exception {
        return ((Report.Pruned) run(new Command.Prune(header("prune"), dryRun))).result();
    }

    private RebuildResult rebuild(boolean dryRun) throws Exception {
        return ((Report.Rebuilt) run(new Command.Rebuild(header("rebuild"), dryRun))).result();
    }

    void forget(String... ids) throws Exception {
        run(new Command.Forget(header("forget"), List.of(ids), null, null, List.of(), false));
    }

    ForgetResult forget(KeepPolicy keep, boolean dryRun, String... inUse) throws Exception {
        return ((Report.Forgotten)
                        run(new Command.Forget(header("forget"), List.of(), "net-a", keep, List.of(inUse), dryRun)))
                .result();
    }

    Report.Held hold(String checkpoint, Instant until) throws Exception {
        return (Report.Held) run(new Command.Hold(header("hold"), checkpoint, "evidence", until));
    }

    void release(String checkpoint) throws Exception {
        run(new Command.Release(header("release"), checkpoint));
    }

    void checkpoint(String id, long seed, Instant takenAt) throws Exception {
        TestImage.write(host.image(id, "a"), 12L << 20, seed);
        Archiver.Result r = TestHost.archive(host, id, "a");
        CheckpointManifest m = TestHost.manifest(id, r.vms());
        host.repository()
                .commit(new CheckpointManifest(
                        1, id, "net-a", null, takenAt, m.layout(), m.vms(), m.machines(), m.cut()));
    }

    void two() throws Exception {
        checkpoint(CP1, 1, Instant.parse("2026-01-01T00:00:00Z"));
        checkpoint(CP2, 2, Instant.parse("2026-01-02T00:00:00Z"));
    }

    private void put(String key, byte[] data) throws Exception {
        store.put(key, data, 0, data.length);
    }

    /** A pack that only the checkpoint needs. */
    private String packOf(String checkpoint) throws Exception {
        List<String> before = keys(KEYS.packs());
        String other = checkpoint.equals(CP1) ? CP2 : CP1;
        assertThat(before).isNotEmpty();
        for (String key : before) {
            byte[] data = store.get(key, 1 << 26);
            store.delete(key);
            boolean spared = verify(other, 0).sound();
            boolean hit = !verify(checkpoint, 0).sound();
            put(key, data);
            if (spared && hit) {
                return key;
            }
        }
        throw new AssertionError("no pack of " + checkpoint + " alone");
    }

    @Test
    void aSoundRepositoryIsFoundSound_wholeInASampleAndByCheckpoint() throws Exception {
        two();

        VerifyResult all = verify(null, 100);

        assertThat(all.sound()).isTrue();
        assertThat(all.checkpoints()).isEqualTo(2);
        assertThat(all.packsRead()).isEqualTo(all.packs()).isGreaterThan(4);
        assertThat(verify(null, 25).packsRead()).isBetween(1, all.packs() / 2);
        assertThat(verify(CP1, 100).packs()).isLessThan(all.packs());
        assertThatThrownBy(() -> verify("cp-nope", 100)).hasMessageContaining("no such checkpoint");
    }

    @Test
    void everyKindOfDamageIsFound_andNamesWhoSuffersAndNobodyElse() throws Exception {
        two();
        String pack = packOf(CP1);
        byte[] good = store.get(pack, 1 << 26);

        byte[] flipped = good.clone();
        flipped[good.length / 2] ^= 4;
        put(pack, flipped);
        VerifyResult r = verify(null, 100);
        assertThat(r.damages()).singleElement().satisfies(d -> {
            assertThat(d.key()).isEqualTo(pack);
            assertThat(d.what()).isEqualTo("corrupt");
            assertThat(d.checkpoints()).containsExactly(CP1);
        });
        assertThat(verify(CP2, 100).sound()).isTrue();

        store.put(pack, good, 0, good.length - 7);
        assertThat(verify(null, 0).damages()).singleElement().satisfies(d -> {
            assertThat(d.what()).isEqualTo("truncated");
            assertThat(d.checkpoints()).containsExactly(CP1);
        });

        store.delete(pack);
        assertThat(verify(null, 0).damages()).singleElement().satisfies(d -> assertThat(d.what())
                .isEqualTo("missing"));
        put(pack, good);

        String vm = KEYS.vm(CP2, "a");
        byte[] manifest = store.get(vm, 1 << 26);
        store.delete(vm);
        assertThat(verify(null, 0).damagedCheckpoints()).containsExactly(CP2);
        put(vm, manifest);

        put(KEYS.checkpoint(CP2), "{".getBytes(StandardCharsets.UTF_8));
        assertThat(verify(null, 0).damages()).singleElement().satisfies(d -> assertThat(d.key())
                .isEqualTo(KEYS.checkpoint(CP2)));
    }

    @Test
    void aMissingIndexIsFound_andARebuildBringsItBack_fromThePacksAlone() throws Exception {
        two();
        for (String index : keys(KEYS.indexes())) {
            store.delete(index);
        }
        assertThat(verify(null, 0).damages()).allMatch(d -> d.what().equals("unindexed"));
        assertThat(verify(null, 0).damagedCheckpoints()).containsExactly(CP1, CP2);

        assertThat(rebuild(true).packsIndexed()).isPositive();
        assertThat(keys(KEYS.indexes())).isEmpty();
        found.clear();
        RebuildResult r = rebuild(false);

        assertThat(r.packsIndexed()).isEqualTo(r.packs());
        assertThat(r.checkpoints()).containsExactly(CP1, CP2);
        assertThat(found).extracting(f -> f.manifest().checkpoint()).containsExactly(CP1, CP2);
        assertThat(verify(null, 100).sound()).isTrue();
        TestHost other = host("h2");
        other.pull(CP1, "a");
        TestImage.assertSame(host.image(CP1, "a"), other.image(CP1, "a"));
    }

    @Test
    void aConfigThatIsGoneBrokenOrOfAnotherRepositoryIsNamedByVerify_andARebuildPutsBackTheOneThatIsGone()
            throws Exception {
        // Given
        WrapKey key = WrapKey.parse("0123456789abcdef".repeat(4), "test");
        use(key);
        two();
        byte[] good = store.get(KEYS.config(), 1 << 16);
        byte[] other = RepositoryConfig.create("another", Instant.now(), 65536, key)
                .config()
                .encode();

        // When
        assertThat(verify(null, 0).sound()).isTrue();
        store.delete(KEYS.config());
        VerifyResult gone = verify(null, 0);
        put(KEYS.config(), "{".getBytes(StandardCharsets.UTF_8));
        VerifyResult broken = verify(CP1, 0);
        put(
                KEYS.config(),
                new String(good, StandardCharsets.UTF_8)
                        .replaceFirst("\"wrapped\":\"....", "\"wrapped\":\"AAAA")
                        .getBytes(StandardCharsets.UTF_8));
        VerifyResult rotten = verify(null, 0);
        put(KEYS.config(), other);
        VerifyResult another = verify(null, 0);

        // Then
        assertThat(gone.sound()).isFalse();
        assertThat(List.of(
                        gone.damages().get(0),
                        broken.damages().get(0),
                        another.damages().get(0)))
                .extracting(Damage::key)
                .containsOnly(KEYS.config());
        assertThat(gone.damages().get(0).what()).isEqualTo("missing");
        assertThat(broken.damages().get(0).what()).isEqualTo("corrupt");
        assertThat(another.damages().get(0).what()).isEqualTo("other");
        assertThat(rotten.damages()).extracting(Damage::what).containsExactly("corrupt");
        assertThat(gone.damagedCheckpoints()).containsExactly(CP1, CP2);
        assertThat(another.damagedCheckpoints()).containsExactly(CP1, CP2);
        assertThat(broken.damagedCheckpoints()).containsExactly(CP1);
        for (Command.ForRepository c :
                List.of(new Command.Rebuild(header("rebuild"), false), new Command.Prune(header("prune"), false))) {
            assertThat(TestHost.failure(() -> run(c)).code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
        }
        assertThat(store.get(KEYS.config(), 1 << 16)).isEqualTo(other);

        // When
        store.delete(KEYS.config());
        RebuildResult dry = rebuild(true);
        boolean stillGone = store.size(KEYS.config()).isEmpty();
        RebuildResult done = rebuild(false);

        // Then
        assertThat(stillGone).isTrue();
        assertThat(List.of(dry, done))
                .allSatisfy(r -> assertThat(r.damages().get(0).key()).isEqualTo(KEYS.config()));
        assertThat(store.get(KEYS.config(), 1 << 16)).isEqualTo(good);
        assertThat(verify(null, 0).sound()).isTrue();
        TestHost reader = host("h2", store, key);
        reader.pull(CP1, "a");
        TestImage.assertSame(host.image(CP1, "a"), reader.image(CP1, "a"));
    }

    @Test
    void everyObjectThatTheRepositoryWritesCanBeInspected() throws Exception {
        // Given: all kinds of objects at once
        two();
        checkpoint("cp-3", 3, Instant.parse("2026-01-03T00:00:00Z"));
        hold(CP1, null);
        forget("cp-3");
        for (String note : List.of("mark-1", "sweep-1")) {
            put(KEYS.gc() + note, new Mark(1, List.of(), List.of(KEYS.vm("cp-4", "a"))).encode());
        }
        put(KEYS.gc() + "run-1", "a name".getBytes(StandardCharsets.UTF_8));

        // When
        List<String> kinds = new ArrayList<>();
        for (String key : keys("")) {
            kinds.add(Inspector.inspect(key, store.get(key, Inspector.limit(key)), true, Vault.NONE)
                    .path("kind")
                    .asText());
        }

        // Then
        assertThat(kinds)
                .contains(
                        "config",
                        "pack",
                        "index",
                        "vm-manifest",
                        "checkpoint-manifest",
                        "hold",
                        "gone",
                        "gc-mark",
                        "gc-sweep",
                        "gc-run")
                .doesNotContain("");
    }

    @Test
    void aBrokenIndexIsNamedOnce_alsoWhereVerifyLooksAtTheIndexesAgainBecauseAPackMoved() throws Exception {
        // Given: an index that is broken, and a pack that vanishes when it is to be read
        two();
        String index = KEYS.index(ChunkId.of(new byte[] {1}));
        put(index, new byte[] {2});
        AtomicInteger vanished = new AtomicInteger();
        ObjectStore moving = (ObjectStore) Proxy.newProxyInstance(
                ObjectStore.class.getClassLoader(), new Class<?>[] {ObjectStore.class}, (self, method, args) -> {
                    boolean reads = List.of("get", "read", "getRange").contains(method.getName());
                    if (reads && ((String) args[0]).startsWith(KEYS.packs()) && vanished.getAndIncrement() == 0) {
                        store.delete((String) args[0]);
                    }
                    try {
                        return method.invoke(store, args);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
        keeper = keeper(moving);

        // When
        VerifyResult r = verify(null, 100);

        // Then
        assertThat(vanished.get()).isPositive();
        assertThat(r.damages().stream().filter(d -> d.key().equals(index))).hasSize(1);
        assertThat(r.damages().stream().map(Damage::what)).contains("missing");
    }

    @Test
    void aBrokenIndexIsReplaced_andABrokenPackIsNamed() throws Exception {
        two();
        String index = keys(KEYS.indexes()).get(0);
        put(index, new byte[100]);
        // all of them: which ones this index names is a matter of their ids, and one of whole packs is written again as
        // it was
        for (String pack : keys(KEYS.packs())) {
            put(pack, new byte[100]);
        }

        RebuildResult r = rebuild(false);

        assertThat(r.indexesRemoved()).isEqualTo(1);
        assertThat(keys(KEYS.indexes())).doesNotContain(index);
        assertThat(r.damages()).extracting(d -> d.key()).contains(index);
        assertThat(verify(null, 100).sound()).isFalse();
    }

    @Test
    void aBrokenIndexOfWholePacksIsWrittenAgainUnderItsName_andStaysThere() throws Exception {
        two();
        for (String index : keys(KEYS.indexes())) {
            put(index, new byte[100]);
            assertThat(verify(null, 0).damages()).extracting(d -> d.key()).contains(index);

            RebuildResult r = rebuild(false);

            assertThat(r.packsIndexed()).isPositive();
            assertThat(verify(null, 100).sound()).isTrue();
        }
    }

    @Test
    void packsThatAreGoneAreNotCountedOn_whatTheyHeldIsUploadedAnew_whichMendsTheOlderCheckpointToo() throws Exception {
        two();
        String gone = packOf(CP1);
        store.delete(gone);
        assertThat(verify(null, 100).damagedCheckpoints()).containsExactly(CP1);

        // with no rebuild between, by the host that knows the index and by one that does not
        checkpoint("cp-3", 1, Instant.parse("2026-01-03T00:00:00Z"));

        VerifyResult mended = verify(null, 100);
        assertThat(mended.damages()).isEmpty();
        assertThat(mended.sound()).isTrue();
        TestHost other = host("h2");
        other.pull("cp-3", "a");
        TestImage.assertSame(host.image("cp-3", "a"), other.image("cp-3", "a"));
        other.pull(CP1, "a");
        TestImage.assertSame(host.image(CP1, "a"), other.image(CP1, "a"));
        // and it is known now: nothing is uploaded once more
        TestImage.write(host.image("cp-4", "a"), 12L << 20, 1);
        assertThat(TestHost.archive(host, "cp-4", "a").figures().newBytes()).isZero();
        TestImage.write(other.image("cp-5", "a"), 12L << 20, 1);
        assertThat(TestHost.archive(other, "cp-5", "a").figures().newBytes()).isZero();
    }

    @Test
    void aPackThatLostItsEndIsNotCountedOnEither() throws Exception {
        two();
        String cut = packOf(CP1);
        byte[] good = store.get(cut, 1 << 26);
        store.put(cut, good, 0, good.length - 7);

        checkpoint("cp-3", 1, Instant.parse("2026-01-03T00:00:00Z"));

        assertThat(verify(null, 100).sound()).isTrue();
        TestHost other = host("h2");
        other.pull("cp-3", "a");
        TestImage.assertSame(host.image("cp-3", "a"), other.image("cp-3", "a"));
    }

    @Test
    void statsCountSharedDataOnce() throws Exception {
        checkpoint(CP1, 1, Instant.EPOCH);
        checkpoint(CP2, 1, Instant.EPOCH.plusSeconds(1));

        StatsResult s = ((Report.Counted) run(new Command.Stats(header("stats"), null))).result();

        assertThat(s.checkpoints()).isEqualTo(2);
        assertThat(s.logicalBytes()).isGreaterThan(24L << 20);
        assertThat(s.uniqueBytes()).isBetween(s.dataBytes() * 4 / 10, s.dataBytes() / 2 + 100_000);
        assertThat(s.garbageBytes()).isZero();
        long listed = 0;
        for (Stored o : store.list(KEYS.prefix())) {
            listed += o.bytes();
        }
        assertThat(s.storedBytes()).isEqualTo(listed);
        assertThat(s.instances()).singleElement().satisfies(i -> assertThat(i.uniqueBytes())
                .isEqualTo(s.uniqueBytes()));
    }

    @Test
    void aBrokenMarkIsNamed_andIsNotNeeded() throws Exception {
        // Given: garbage that is marked, and a mark and a sweep with flipped bits
        two();
        TestImage.write(host.image("cp-lost", "a"), 4L << 20, 9);
        use(null, SHORT);
        TestHost.archive(host, "cp-lost", "a");
        for (String note : List.of("mark-x", "sweep-x")) {
            byte[] data = new Mark(1, List.of("ab".repeat(32)), List.of()).encode();
            data[3] ^= 1;
            put(KEYS.gc() + note, data);
        }

        // Then: nothing goes on, and everybody says what can be done
        assertThatThrownBy(() -> prune(false)).isInstanceOfSatisfying(StorageException.class, e -> {
            assertThat(e.getMessage()).contains(KEYS.gc() + "mark-x");
            assertThat(e.remedy()).contains("is marked again");
        });
        VerifyResult broken = verify(null, 0);
        assertThat(broken.sound()).isFalse();
        assertThat(broken.damagedCheckpoints()).isEmpty();
        assertThat(broken.damages())
                .extracting(Damage::key)
                .containsExactly(KEYS.gc() + "mark-x", KEYS.gc() + "sweep-x");
        assertThat(broken.damages())
                .extracting(Damage::message)
                .satisfiesExactly(m -> assertThat(m).contains("is marked again"), m -> assertThat(m)
                        .contains("when no prune is at work"));

        // When they are deleted
        store.delete(KEYS.gc() + "mark-x");
        store.delete(KEYS.gc() + "sweep-x");

        // Then
        assertThat(verify(null, 100).sound()).isTrue();
        prune(false);
        assertThat(verify(null, 100).sound()).isTrue();
    }

    @Test
    void aPolicyForgetsWhatItDoesNotKeep_butNothingOnADryRun_andNothingThatIsHeldOrInUse() throws Exception {
        two();
        checkpoint("cp-3", 3, Instant.parse("2026-01-03T00:00:00Z"));
        checkpoint("cp-4", 4, Instant.parse("2026-01-04T00:00:00Z"));
        hold(CP1, null);
        var policy = new KeepPolicy(1, null, null, null, null);

        var dry = forget(policy, true, "cp-3");
        assertThat(dry.forgotten()).extracting(ForgetEntry::checkpoint).containsExactly(CP2);
        assertThat(keys(KEYS.checkpoints())).hasSize(4);
        var done = forget(policy, false, "cp-3");

        assertThat(done.forgotten()).extracting(ForgetEntry::checkpoint).containsExactly(CP2);
        assertThat(done.kept())
                .extracting(e -> e.checkpoint() + " " + e.reasons())
                .containsExactlyInAnyOrder("cp-4 [last]", "cp-3 [in use]", CP1 + " [held]");
        assertThat(keys(KEYS.checkpoints())).hasSize(3).doesNotContain(KEYS.checkpoint(CP2));
        assertThat(keys(KEYS.vms() + CP2)).isEmpty();
    }

    @Test
    void aHeldCheckpointIsNotForgotten_untilItIsReleased_andTheNoteSaysWhatTheBucketLacks() throws Exception {
        two();
        byte[] before = store.get(KEYS.checkpoint(CP1), 1 << 20);
        var held = hold(CP1, Instant.now().plusSeconds(3600));
        assertThat(held.locked()).isFalse();
        assertThat(held.note()).contains("no S3 Object Lock");
        assertThat(store.get(KEYS.checkpoint(CP1), 1 << 20)).isEqualTo(before);

        assertThatThrownBy(() -> forget(CP2, CP1))
                .isInstanceOfSatisfying(
                        StorageException.class, e -> assertThat(e.code().name()).isEqualTo("CHECKPOINT_HELD"));
        assertThat(keys(KEYS.checkpoints())).hasSize(2);
        release(CP1);
        forget(CP2, CP1);
        forget(CP2, CP1); // again: nothing to do

        assertThat(keys(KEYS.checkpoints())).isEmpty();
    }

    @Test
    void garbageIsMarkedThenDeletedAfterTheGracePeriod_andWhatIsNeededStays() throws Exception {
        use(null, SHORT);
        two();
        TestImage.write(host.image("cp-lost", "a"), 4L << 20, 9);
        TestHost.archive(host, "cp-lost", "a"); // never committed
        forget(CP1);
        assertThat(prune(false).markedPacks()).isZero(); // all is young: it may be of an upload under way

        PruneResult dry = await().atMost(Duration.ofSeconds(180))
                .pollInterval(Duration.ofSeconds(1))
                .until(() -> prune(true), p -> p.markedPacks() > 0 && p.nextAt() != null);
        assertThat(keys(KEYS.gc())).isEmpty();
        List<String> all = keys(KEYS.packs());
        PruneResult marked = prune(false);
        assertThat(marked.markedPacks()).isGreaterThanOrEqualTo(dry.markedPacks());
        assertThat(marked.deletedPacks()).isZero();
        assertThat(keys(KEYS.packs())).containsAll(all); // and copies, where a pack had chunks of both

        // what comes meanwhile does not rely on what is marked
        checkpoint("cp-new", 5, Instant.parse("2026-01-05T00:00:00Z"));
        PruneResult swept = pruneUntilDeleted(marked.markedPacks() + marked.repackedPacks());

        assertThat(swept.indexesRewritten()).isPositive();
        assertThat(keys(KEYS.packs())).hasSizeLessThan(all.size() + 20).isNotEqualTo(all);
        assertThat(verify(null, 100).sound()).isTrue();
        await().atMost(Duration.ofSeconds(180))
                .pollInterval(Duration.ofSeconds(1))
                .until(() -> {
                    prune(false);
                    return keys(KEYS.vms() + "cp-lost").isEmpty();
                });
        TestHost other = host("h2");
        other.pull(CP2, "a");
        TestImage.assertSame(host.image(CP2, "a"), other.image(CP2, "a"));
        other.pull("cp-new", "a");
        TestImage.assertSame(host.image("cp-new", "a"), other.image("cp-new", "a"));
    }

    @Test
    void packsThatNoIndexNamesAreKeptWhileNeededChunksAreInNone_andARebuildNamesThemAll_alsoMarkedOnes()
            throws Exception {
        use(null, SHORT);
        two();
        TestImage.write(host.image("cp-lost", "a"), 4L << 20, 9);
        TestHost.archive(host, "cp-lost", "a"); // never committed
        await().atMost(Duration.ofSeconds(180))
                .pollInterval(Duration.ofSeconds(1))
                .until(() -> prune(true), p -> p.markedPacks() > 0);
        prune(false);
        for (String index : keys(KEYS.indexes())) {
            store.delete(index);
        }
        List<String> all = keys(KEYS.packs());

        PruneResult p = prune(false);

        assertThat(p.markedPacks() + p.deletedPacks() + p.repackedPacks()).isZero();
        assertThat(keys(KEYS.packs())).isEqualTo(all);
        RebuildResult r = rebuild(false);
        assertThat(r.packsIndexed()).isEqualTo(r.packs());
        assertThat(verify(null, 100).sound()).isTrue();
    }

    @Test
    void packsOfWhichLittleIsNeededAreRewritten_andNothingIsUploadedAgainOrLost() throws Exception {
        use(WrapKey.parse("0123456789abcdef".repeat(4), "test"), SHORT);
        TestImage.write(host.image(CP1, "a"), 12L << 20, 1);
        Archiver.Result first = TestHost.archive(host, CP1, "a");
        TestHost.commit(host, CP1, first);
        Path ram = host.image(CP2, "a").resolve("ram.img");
        little(CP2);
        TestHost.commit(host, CP2, TestHost.archive(host, CP2, "a"));
        forget(CP1);
        List<String> all = keys(KEYS.packs());
        assertThat(prune(true).repackedPacks()).as("young packs").isZero();

        // When they are old enough: first it is only told
        PruneResult dry = await().atMost(Duration.ofSeconds(180))
                .pollInterval(Duration.ofSeconds(1))
                .until(() -> prune(true), p -> p.repackedPacks() > 0 && p.deadBytes() <= p.liveBytes() / 20);
        assertThat(keys(KEYS.packs())).isEqualTo(all);
        assertThat(keys(KEYS.gc())).isEmpty();
        PruneResult r = prune(false);

        // Then what is needed is in new packs too, and readers find it there
        assertThat(r.repackedPacks()).isGreaterThanOrEqualTo(dry.repackedPacks());
        assertThat(r.copiedBytes()).isBetween(1L, r.repackedBytes() / 2);
        assertThat(r.deadBytes()).isLessThanOrEqualTo(r.liveBytes() / 20 + r.copiedBytes() / 20);
        assertThat(keys(KEYS.packs())).containsAll(all).hasSizeGreaterThan(all.size());
        assertThat(verify(null, 100).sound()).isTrue();
        little("cp-3");
        Archiver.Result again = TestHost.archive(host, "cp-3", "a");
        assertThat(again.figures().newBytes()).isZero();
        TestHost.commit(host, "cp-3", again);

        // When the grace period is over: then the old ones go
        PruneResult swept = pruneUntilDeleted(r.markedPacks() + r.repackedPacks());
        assertThat(swept.repackedPacks()).isZero();
        assertThat(verify(null, 100).sound()).isTrue();
        TestHost other = host("h2", store, WrapKey.parse("0123456789abcdef".repeat(4), "test"));
        other.pull(CP2, "a");
        assertThat(Files.mismatch(ram, other.image(CP2, "a").resolve("ram.img")))
                .isEqualTo(-1);
        other.pull("cp-3", "a");
        assertThat(Files.mismatch(ram, other.image("cp-3", "a").resolve("ram.img")))
                .isEqualTo(-1);
    }

    /** Prunes until so many packs are deleted; marks that were set one after another become old one after another. */
    private PruneResult pruneUntilDeleted(int packs) {
        var deleted = new AtomicInteger();
        return await().atMost(Duration.ofSeconds(180))
                .pollInterval(Duration.ofSeconds(1))
                .until(
                        () -> {
                            PruneResult p = prune(false);
                            deleted.addAndGet(p.deletedPacks());
                            return p;
                        },
                        p -> deleted.get() >= packs);
    }

    /** An image that has of the first one's memory a chunk in twelve. */
    private void little(String checkpoint) throws Exception {
        byte[] memory = Files.readAllBytes(host.image(CP1, "a").resolve("ram.img"));
        for (int at = 0; at < memory.length; at++) {
            if (at / 65536 % 12 != 1) {
                memory[at] = 0;
            }
        }
        Path folder = Files.createDirectories(host.image(checkpoint, "a"));
        Files.write(folder.resolve("ram.img"), memory);
        Files.writeString(folder.resolve("machine.json"), "{}");
    }

    @Test
    void nothingIsPrunedWhileAManifestCannotBeRead() throws Exception {
        two();
        List<String> all = keys(KEYS.packs());
        put(KEYS.vm(CP1, "a"), new byte[10]);

        assertThatThrownBy(() -> prune(false))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("nothing was pruned")
                .hasMessageContaining(KEYS.vm(CP1, "a"));

        assertThat(keys(KEYS.packs())).isEqualTo(all);
        assertThat(keys(KEYS.gc())).isEmpty();
    }

    @Test
    void anEncryptedRepositoryIsKeptAlike() throws Exception {
        use(WrapKey.parse("0123456789abcdef".repeat(4), "test"));
        two();

        assertThat(verify(null, 100).sound()).isTrue();
        for (String index : keys(KEYS.indexes())) {
            store.delete(index);
        }
        assertThat(rebuild(false).checkpoints()).containsExactly(CP1, CP2);
        forget(CP1);
        assertThat(verify(null, 100).sound()).isTrue();
        assertThat(((Report.Counted) run(new Command.Stats(header("stats"), null)))
                        .result()
                        .garbageBytes())
                .isPositive();
    }
}
