package io.holdfast.storage.maintenance;

import static io.holdfast.storage.maintenance.SimRepository.CHUNK;
import static io.holdfast.storage.maintenance.SimRepository.GRACE;
import static io.holdfast.storage.maintenance.SimRepository.KEYS;
import static io.holdfast.storage.maintenance.SimRepository.RAW;
import static io.holdfast.storage.maintenance.SimRepository.content;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Lease;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Mark;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.VmManifest;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Uploads, commits, restores, forgets, holds and two collectors at once on one bucket, each request to the bucket in an order
 * that a seed chooses, with time that jumps. A committed checkpoint must stay restorable until it is forgotten; a held one must
 * stay; in the end no garbage may be left. Variants in which one part of the agreement is left out must be caught.
 */
class ConcurrentMaintenanceTest {
    private static final int UNIVERSE = 30;
    /** Percent of the bytes of needed packs that nobody needs, which no repacking begins below. */
    private static final int MAX_UNUSED = 5;

    /** A pack of one chunk is small, and two of them fill one. */
    private static final int SMALL = 60;

    /** What shows only where packs stay. */
    private static final Set<Broken> KEEP_SMALL = Set.of(Broken.SAME_PACK_AGAIN, Broken.SWEEP_UNSEEN);

    private static final int SEEDS = Integer.getInteger("holdfast.sim.seeds", 60);

    /** The orders of steps in which a prune that does not tell what it deletes does harm are rare: 1319 is one. */
    private static final long FIRST = Long.getLong("holdfast.sim.first", 1300);

    private static Path folder;

    /** In memory where there is such a file system: the services sync their caches to the disk, thousands of times here. */
    @BeforeAll
    static void makeFolder() throws IOException {
        java.util.logging.Logger.getLogger("io.holdfast.storage").setLevel(java.util.logging.Level.WARNING);
        Path memory = Path.of("/dev/shm");
        folder = Files.isWritable(memory)
                ? Files.createTempDirectory(memory, "holdfast-sim")
                : Files.createTempDirectory("holdfast-sim");
    }

    @AfterAll
    static void removeFolder() throws IOException {
        remove(folder);
    }

    private static void remove(Path root) throws IOException {
        try (var all = Files.walk(root)) {
            for (Path p : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(p);
            }
        }
    }

    /** What is left out. */
    private enum Broken {
        NOTHING,
        NO_GRACE,
        MARKS_IGNORED,
        LEASE_NOT_CHECKED,
        COMMIT_NOT_CHECKED,
        SAME_PACK_AGAIN,
        FORGET_UNSEEN,
        SWEEP_UNSEEN,
        OLD_PACK_FIRST,
        COUNTS_ON_MARKED
    }

    /** A promise was broken. */
    private static final class Caught extends AssertionError {
        private static final long serialVersionUID = 1;

        Caught(String message) {
            super(message);
        }
    }

    /** Something that runs; each of its requests waits for the scheduler. */
    private interface Work {
        void run() throws Exception;
    }

    private static final class Actor {
        final Semaphore permit = new Semaphore(0);
        /** Packs that it read. */
        final Set<String> read = new TreeSet<>();
        /** It is killed before that many requests more; 0: it is not. */
        int life;

        boolean ended;
    }

    /** A process was killed: nothing of it is done any more. */
    private static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    private static final ThreadLocal<Actor> CURRENT = new ThreadLocal<>();

    /** One run of the world. */
    private static final class World {
        final Random random;
        final Broken broken;
        final SimStore store;
        final Semaphore arrived = new Semaphore(0);
        final List<Actor> actors = new ArrayList<>();
        final Path state;
        final Clock clock;
        /** How many different chunks there are. */
        int universe = UNIVERSE;
        /** Size from which an upload's packs are full. */
        int packBytes = CHUNK * 2;

        // what was promised
        final Set<String> committed = new TreeSet<>();
        final Set<String> goingOrGone = new TreeSet<>();
        final Set<String> held = new TreeSet<>();
        final Map<String, Integer> holders = new TreeMap<>();
        final Map<String, Set<ChunkId>> needs = new TreeMap<>();
        volatile Throwable failure;
        int refused;
        String refusal;
        int restored;
        int deletedPacks;
        int repackedPacks;
        int killed;
        int uploads;

        World(long seed, Broken broken) throws IOException {
            this.random = new Random(seed);
            this.broken = broken;
            this.store = new SimStore(this::gate);
            this.state = Files.createDirectories(folder.resolve(broken + "-" + seed));
            this.clock = new Clock() {
                @Override
                public ZoneId getZone() {
                    return ZoneId.of("UTC");
                }

                @Override
                public Clock withZone(ZoneId zone) {
                    return this;
                }

                @Override
                public Instant instant() {
                    return store.now;
                }
            };
            if (broken == Broken.FORGET_UNSEEN) {
                store.swallow = k -> k.startsWith(KEYS.goneFolder());
            }
            if (broken == Broken.SWEEP_UNSEEN) {
                store.swallow = k -> k.startsWith(KEYS.gc() + "sweep-");
            }
            if (broken == Broken.OLD_PACK_FIRST) {
                store.onGet = key -> {
                    if (CURRENT.get() != null && key.startsWith(KEYS.packs())) {
                        CURRENT.get().read.add(key);
                    }
                };
                store.onPut = key -> {
                    if (CURRENT.get() != null && key.startsWith(KEYS.indexes())) {
                        Set<String> read = Set.copyOf(CURRENT.get().read);
                        CURRENT.get().read.clear();
                        read.forEach(store::delete);
                    }
                };
            }
            store.onDelete = key -> {
                if (key.startsWith(KEYS.packs())) {
                    deletedPacks++;
                }
                promises("after " + key + " was deleted");
            };
        }

        private void gate() {
            Actor a = CURRENT.get();
            if (a != null) {
                if (a.life > 0 && --a.life == 0) {
                    a.life = 1; // also not what it would clear up
                    throw new Killed();
                }
                arrived.release();
                a.permit.acquireUninterruptibly();
            }
        }

        Actor start(Work work) {
            Actor a = new Actor();
            actors.add(a);
            Thread.ofPlatform().daemon().start(() -> {
                CURRENT.set(a);
                try {
                    gate();
                    work.run();
                } catch (StorageException e) {
                    refused++;
                    refusal = e.getMessage();
                } catch (Throwable t) {
                    failure = failure == null ? t : failure;
                } finally {
                    a.ended = true;
                    arrived.release();
                }
            });
            arrived.acquireUninterruptibly();
            return a;
        }

        void runAll() throws Exception {
            for (; ; ) {
                List<Actor> left = actors.stream().filter(a -> !a.ended).toList();
                if (left.isEmpty()) {
                    break;
                }
                int jump = random.nextInt(100);
                store.now = store.now.plus(
                        jump == 0
                                ? GRACE.plusSeconds(random.nextInt(1000))
                                : jump < 6 ? GRACE.dividedBy(3) : Duration.ofSeconds(random.nextInt(60)));
                // one goes on for a while: else nobody ever gets far while others stand
                Actor a = left.get(random.nextInt(left.size()));
                for (int n = 1 + random.nextInt(8); n > 0 && !a.ended; n--) {
                    a.permit.release();
                    arrived.acquireUninterruptibly();
                    if (failure != null) {
                        throw new Caught(String.valueOf(failure.getMessage()));
                    }
                }
            }
        }

        Repository repository() {
            return new Repository(store, KEYS, CHUNK, null).graceOfNew(GRACE);
        }

        Leases leases(Repository repository) {
            return new Leases(store, KEYS, repository, () -> Duration.between(Instant.EPOCH, store.now)
                    .toNanos());
        }

        void upload(int number) throws Exception {
            Repository repository = repository();
            Indexes indexes =
                    new Indexes(store, KEYS, repository, Files.createDirectories(state.resolve("u" + number)));
            String checkpoint = "cp-" + number;
            try (Lease lease = leases(repository).begin(indexes)) {
                upload(checkpoint, indexes, lease);
            }
        }

        private void upload(String checkpoint, Indexes indexes, Lease lease) throws Exception {
            Random mine = new Random(random.nextLong());
            var wanted = new TreeSet<Integer>();
            for (int i = 0; i < 4; i++) {
                wanted.add(mine.nextInt(universe));
            }
            PackFormat.Builder pack = new PackFormat.Builder(packBytes, CHUNK, Vault.NONE);
            var tables = new ArrayList<Table>();
            var ids = new ArrayList<ChunkId>();
            for (int n : wanted) {
                byte[] data = content(n);
                ChunkId id = ChunkId.of(data);
                ids.add(id);
                boolean have = broken == Broken.MARKS_IGNORED ? indexes.contains(id) : lease.has(id);
                if (!have) {
                    pack.add(id, data, 0, CHUNK, RAW);
                    if (pack.isFull()) {
                        put(pack, tables);
                    }
                }
            }
            if (!pack.isEmpty()) {
                put(pack, tables);
            }
            if (!tables.isEmpty()) {
                indexes.publish(tables);
            }
            VmManifest vm = SimRepository.vm(checkpoint, ids);
            byte[] data = vm.encode();
            if (broken == Broken.LEASE_NOT_CHECKED) {
                late(100, () -> {}); // else it is rarely slow enough to be seen
            }
            store.put(KEYS.vm(checkpoint, "a"), data, 0, data.length);
            if (broken != Broken.LEASE_NOT_CHECKED) {
                lease.check();
            }
            for (int n = random.nextInt(8); n > 0; n--) {
                gate(); // other hosts are slower
            }
            if (broken == Broken.COMMIT_NOT_CHECKED) {
                late(100, () -> {}); // the same
            }
            CheckpointManifest m = SimRepository.manifest(
                    checkpoint,
                    store.now,
                    new VmArchive(
                            "a", KEYS.vm(checkpoint, "a"), ChunkId.of(data).hex()));
            if (broken == Broken.COMMIT_NOT_CHECKED) {
                byte[] raw = io.holdfast.storage.domain.Manifests.encode(m);
                if (store.size(KEYS.vm(checkpoint, "a")).isPresent()) {
                    store.put(KEYS.checkpoint(checkpoint), raw, 0, raw.length);
                }
            } else {
                repository().commit(m);
            }
            needs.put(checkpoint, Set.copyOf(ids));
            committed.add(checkpoint);
            uploads++;
            promises("after the commit of " + checkpoint);
        }

        private void put(PackFormat.Builder pack, List<Table> tables) {
            Table t = pack.seal();
            if (broken == Broken.SAME_PACK_AGAIN) { // as if nothing random were in it
                var ids = ByteBuffer.allocate(t.entries().size() * ChunkId.BYTES);
                t.entries().stream().limit(t.entries().size() - 1L).forEach(e -> e.id().write(ids));
                t = new Table(ChunkId.of(ids.array()), t.entries());
            }
            store.put(KEYS.pack(t.id()), pack.bytes(), 0, pack.length());
            tables.add(t);
            pack.clear();
        }

        /** Stands for a while first. */
        void late(int most, Work work) throws Exception {
            for (int n = random.nextInt(most); n > 0; n--) {
                gate();
            }
            work.run();
        }

        String any(Set<String> from) {
            var list = List.copyOf(from);
            return list.isEmpty() ? null : list.get(random.nextInt(list.size()));
        }

        void forget() throws Exception {
            gate();
            var candidates = new TreeSet<>(committed);
            candidates.removeAll(goingOrGone);
            String cp = any(candidates);
            if (cp != null) {
                goingOrGone.add(cp);
                var f = new Forgetter(store, KEYS, new Survey(store, KEYS, repository()), clock, "op-1");
                if (!f.remove(cp)) {
                    goingOrGone.remove(cp);
                    promises("after a forget of " + cp + " gave way to a hold");
                }
            }
        }

        /** Several may hold one checkpoint at a time; who is the last releases it. */
        void hold() throws Exception {
            gate();
            String cp = any(committed);
            if (cp == null || holders.getOrDefault(cp, 0) < 0) {
                return;
            }
            holders.merge(cp, 1, Integer::sum);
            var holder = new Holder(store, KEYS, new Survey(store, KEYS, repository()), clock);
            try {
                holder.hold(cp, "hold " + random.nextInt(), null, new Progress());
                held.add(cp);
                promises("after " + cp + " was held");
                gate();
                gate();
            } finally {
                if (holders.merge(cp, -1, Integer::sum) == 0 && held.remove(cp)) {
                    holders.put(cp, -1); // until it is done nobody holds it
                    holder.release(cp);
                    holders.remove(cp);
                }
            }
        }

        /** Many prunes, of which some are killed while they are at work. */
        void prunes() throws Exception {
            for (int i = 0; i < 12; i++) {
                CURRENT.get().life = random.nextInt(4) == 0 ? 1 + random.nextInt(60) : 0;
                try {
                    prune(1);
                } catch (Killed e) {
                    killed++;
                }
                CURRENT.get().life = 0;
            }
        }

        void prune(int times) throws Exception {
            Repository r = repository();
            Duration grace = broken == Broken.NO_GRACE ? Duration.ZERO : r.grace();
            for (int i = 0; i < times; i++) {
                try {
                    repackedPacks +=
                            pruner(r, grace).prune(false, new Progress()).repackedPacks();
                } catch (StorageException e) {
                    refused++;
                }
            }
        }

        private Pruner pruner(Repository r, Duration grace) {
            return new Pruner(
                    store,
                    KEYS,
                    new Survey(store, KEYS, r),
                    leases(r),
                    grace,
                    new Keeper.Repack(CHUNK * 2, MAX_UNUSED, KEEP_SMALL.contains(broken) ? 0 : SMALL, 6L * CHUNK)) {
                @Override
                boolean staysFor(Job job, ChunkId pack) {
                    return broken == Broken.COUNTS_ON_MARKED ? job.whole(pack) : super.staysFor(job, pack);
                }
            };
        }

        /** A restore that began while the checkpoint was there, and takes less than the grace period, comes to its end. */
        void restore(int number) throws Exception {
            gate();
            var candidates = new TreeSet<>(committed);
            candidates.removeAll(goingOrGone);
            String cp = any(candidates);
            if (cp == null) {
                return;
            }
            Repository r = repository();
            Instant begun = store.now;
            CheckpointManifest m = r.checkpoint(cp);
            VmManifest vm = r.vm(m, "a");
            Indexes indexes = new Indexes(store, KEYS, r, Files.createDirectories(state.resolve("r" + number)));
            indexes.refresh();
            var missing = new ArrayList<String>();
            var packs = new TreeSet<ChunkId>();
            Survey.chunks(vm, (id, bytes) -> {
                var place = indexes.find(id);
                if (place == null) {
                    missing.add("chunk " + id + " is in no index");
                } else {
                    packs.add(place.pack());
                }
            });
            boolean gone = false;
            for (ChunkId p : packs) {
                gone |= store.size(KEYS.pack(p)).isEmpty();
            }
            if (gone) { // what was in them may have been rewritten meanwhile: a pull looks once more
                indexes.look();
                Survey.chunks(vm, (id, bytes) -> {
                    var place = indexes.find(id);
                    if (place == null || store.size(KEYS.pack(place.pack())).isEmpty()) {
                        missing.add("chunk " + id + " is gone");
                    }
                });
            }
            if (Duration.between(begun, store.now).compareTo(GRACE) < 0 && !missing.isEmpty()) {
                throw new Caught("a restore of " + cp + " could not go on: " + missing);
            }
            restored++;
        }

        /** Holds what was promised against what is in the bucket. */
        void promises(String when) {
            Set<ChunkId> there = new HashSet<>();
            try {
                for (String key : store.keys(KEYS.indexes())) {
                    for (Table t : IndexFormat.decode(key, store.peek(key), false)) {
                        if (store.has(KEYS.pack(t.id()))) {
                            t.entries().forEach(e -> there.add(e.id()));
                        }
                    }
                }
            } catch (StorageException e) {
                throw new Caught(e.getMessage());
            }
            for (String cp : committed) {
                if (goingOrGone.contains(cp)) {
                    continue;
                }
                if (!store.has(KEYS.checkpoint(cp)) || !store.has(KEYS.vm(cp, "a"))) {
                    throw new Caught(when + ": a manifest of " + cp + " is gone");
                }
                if (!there.containsAll(needs.get(cp))) {
                    throw new Caught(when + ": chunks of " + cp + " are gone");
                }
            }
            for (String cp : held) {
                if (!store.has(KEYS.checkpoint(cp))) {
                    throw new Caught(when + ": " + cp + " is gone although it is held");
                }
            }
        }

        /** With nobody else about, whatever nobody needs is gone after a few prunes. */
        void settle() throws Exception {
            Repository r = repository();
            store.now = store.now.plus(Duration.ofDays(2)); // so long notes of prunes that were killed stay
            boolean work = true;
            for (int i = 0; i < 4 || (work && i < 40); i++) {
                store.now = store.now.plus(GRACE.multipliedBy(2));
                PruneResult p = pruner(r, GRACE).prune(false, new Progress());
                work = p.markedPacks() + p.repackedPacks() + p.deletedPacks() + p.waitingPacks() > 0;
            }
            store.now = store.now.plus(Duration.ofDays(2)); // and what they said is gone
            pruner(r, GRACE).prune(false, new Progress());
            promises("at the end");
            Set<ChunkId> needed = new HashSet<>();
            for (String key : store.keys(KEYS.checkpoints())) {
                String cp = key.substring(KEYS.checkpoints().length()).replace(".json", "");
                VmManifest vm = r.vm(r.checkpoint(cp), "a");
                Survey.chunks(vm, (id, bytes) -> needed.add(id));
            }
            long all = 0;
            long dead = 0;
            int small = 0;
            var useful = new TreeSet<String>();
            for (String key : store.keys(KEYS.indexes())) {
                for (Table t : IndexFormat.decode(key, store.peek(key), false)) {
                    if (t.entries().stream().anyMatch(e -> needed.contains(e.id())) && useful.add(KEYS.pack(t.id()))) {
                        all += t.objectBytes();
                        dead += t.content().stream()
                                .filter(e -> !needed.contains(e.id()))
                                .mapToLong(e -> e.storedBytes())
                                .sum();
                        small += t.content().size() == 1 ? 1 : 0;
                    }
                }
            }
            if (!useful.containsAll(store.keys(KEYS.packs()))) {
                throw new Caught("packs that nobody needs are left");
            }
            if (broken == Broken.NOTHING && dead * 100 > all * MAX_UNUSED) {
                throw new Caught(dead + " of " + all + " bytes in packs are needed by nobody");
            }
            if (broken == Broken.NOTHING && small > 1) {
                throw new Caught(small + " packs of one chunk are left");
            }
            if (store.keys(KEYS.vms()).size() != store.keys(KEYS.checkpoints()).size()) {
                throw new Caught("VM manifests of no checkpoint are left");
            }
            if (!store.keys(KEYS.gc()).isEmpty()
                    || !store.keys(KEYS.goneFolder()).isEmpty()) {
                throw new Caught("notes are left: " + store.keys(KEYS.gc()) + store.keys(KEYS.goneFolder()));
            }
        }
    }

    private static World live(long seed, Broken broken) throws Exception {
        return live(seed, broken, w -> {});
    }

    private static World live(long seed, Broken broken, Consumer<World> more) throws Exception {
        World w = new World(seed, broken);
        w.repository().open();
        more.accept(w);
        int uploads = 4;
        for (int i = 0; i < uploads; i++) {
            int n = i;
            w.start(() -> {
                for (int k = 0; k < 7; k++) {
                    try {
                        w.upload(n * 10 + k);
                    } catch (StorageException e) {
                        w.refused++;
                    }
                }
            });
        }
        for (int i = 0; i < 2; i++) {
            int n = i;
            w.start(w::prunes);
            w.start(() -> {
                for (int k = 0; k < 12; k++) {
                    try {
                        w.forget();
                    } catch (StorageException e) {
                        w.refused++;
                    }
                }
            });
            w.start(() -> {
                for (int k = 0; k < 4; k++) {
                    try {
                        w.hold();
                    } catch (StorageException e) {
                        w.refused++;
                    }
                }
            });
            w.start(() -> {
                for (int k = 0; k < 12; k++) {
                    try {
                        for (int g = w.random.nextInt(20); g > 0; g--) {
                            w.gate();
                        }
                        w.restore(n * 10 + k);
                    } catch (StorageException e) {
                        w.refused++;
                    }
                }
            });
        }
        w.runAll();
        w.promises("when all had ended");
        remove(w.state);
        return w;
    }

    @Test
    void everyPromiseHolds_inEveryOrder_andNoGarbageIsLeft() throws Exception {
        int deleted = 0;
        int restored = 0;
        int uploads = 0;
        int refused = 0;
        int repacked = 0;
        int killed = 0;
        for (long seed = 1; seed <= SEEDS; seed++) {
            try {
                World w = live(seed, Broken.NOTHING);
                w.settle();
                deleted += w.deletedPacks;
                restored += w.restored;
                uploads += w.uploads;
                refused += w.refused;
                repacked += w.repackedPacks;
                killed += w.killed;
            } catch (Caught e) {
                throw new AssertionError("seed " + seed + ": " + e.getMessage(), e);
            }
        }
        // the runs are worth something: a good part of everything happened
        assertThat(List.of(deleted, restored, uploads, refused, repacked, killed))
                .as("packs deleted, restores, uploads, refusals, packs repacked, prunes killed")
                .satisfiesExactly(
                        d -> assertThat(d).isGreaterThan(100),
                        r -> assertThat(r).isGreaterThan(300),
                        u -> assertThat(u).isGreaterThan(200),
                        r -> assertThat(r).isGreaterThan(60),
                        r -> assertThat(r).isGreaterThan(100),
                        k -> assertThat(k).isGreaterThan(100));
    }

    private static Optional<String> caught(Broken broken) throws Exception {
        for (long seed = 1; seed <= 400; seed++) {
            try {
                live(seed, broken).settle();
            } catch (Caught e) {
                return Optional.of(e.getMessage());
            }
        }
        return Optional.empty();
    }

    @Test
    void aPruneWithoutGraceIsCaught() throws Exception {
        assertThat(caught(Broken.NO_GRACE))
                .hasValueSatisfying(m -> assertThat(m).contains("gone"));
    }

    @Test
    void anUploadThatReusesMarkedPacksIsCaught() throws Exception {
        assertThat(caught(Broken.MARKS_IGNORED))
                .hasValueSatisfying(m -> assertThat(m).contains("gone"));
    }

    @Test
    void anUploadThatTakesTooLongIsCaught() throws Exception {
        assertThat(caught(Broken.LEASE_NOT_CHECKED))
                .hasValueSatisfying(m -> assertThat(m).contains("gone"));
    }

    @Test
    void aCommitThatComesTooLateIsCaught() throws Exception {
        assertThat(caught(Broken.COMMIT_NOT_CHECKED))
                .hasValueSatisfying(m -> assertThat(m).contains("gone"));
    }

    @Test
    void aPackStoredAgainUnderTheSameKeyIsCaught() throws Exception {
        assertThat(caught(Broken.SAME_PACK_AGAIN))
                .hasValueSatisfying(m -> assertThat(m).contains("gone"));
    }

    /**
     * One checkpoint whose packs have an old mark (it was committed when they had just been marked): one prune takes the mark away
     * because they are needed; then the checkpoint is forgotten, another prune finds them marked and needed by nobody, and an upload
     * wants them.
     */
    private static World race(long seed, Broken broken) throws Exception {
        World w = new World(seed, broken);
        w.universe = 2;
        w.repository().open();
        w.upload(1);
        byte[] mark = new Mark(
                        Mark.FORMAT,
                        w.store.keys(KEYS.packs()).stream()
                                .map(k -> k.substring(KEYS.packs().length()))
                                .toList(),
                        List.of())
                .encode();
        String key = KEYS.gc() + "mark-old";
        w.store.put(key, mark, 0, mark.length);
        w.store.now = w.store.now.plus(GRACE.multipliedBy(2));
        w.start(() -> w.prune(1));
        w.start(() -> w.late(10, w::forget));
        w.start(() -> w.late(20, () -> w.prune(1)));
        w.start(() -> w.late(40, () -> w.upload(2)));
        w.runAll();
        w.promises("when all had ended");
        remove(w.state);
        return w;
    }

    @Test
    void aMarkThatAHandTakesAway_whileOthersAreAtWork_losesNothing() throws Exception {
        int deletedByHand = 0;
        for (long seed = 1; seed <= 60; seed++) {
            int[] deleted = new int[1];
            World w = live(seed, Broken.NOTHING, world -> {
                world.start(() -> {
                    for (int i = 0; i < 40; i++) {
                        world.late(20, () -> {});
                        String mark = world.any(new TreeSet<>(world.store.keys(KEYS.gc() + "mark-")));
                        if (mark != null) {
                            world.store.delete(mark);
                            deleted[0]++;
                        }
                    }
                });
            });
            w.settle();
            deletedByHand += deleted[0];
        }
        assertThat(deletedByHand).isGreaterThan(60);
    }

    @Test
    void twoPrunesAndAnUploadOfWhatTheyDisagreeAbout_loseNothing() throws Exception {
        int uploads = 0;
        for (long seed = 1; seed <= 300; seed++) {
            uploads += race(seed, Broken.NOTHING).uploads;
        }
        assertThat(uploads).isGreaterThan(400);
    }

    @Test
    void aPruneThatDoesNotTellWhatItDeletesIsCaught() {
        assertThatThrownBy(() -> {
                    for (long seed = FIRST; seed <= 5000; seed++) {
                        try {
                            race(seed, Broken.SWEEP_UNSEEN);
                        } catch (Caught e) {
                            throw new Caught("seed " + seed + ": " + e.getMessage());
                        }
                    }
                })
                .isInstanceOf(Caught.class)
                .satisfies(e -> System.out.println(e.getMessage()))
                .hasMessageContaining("gone");
    }

    @Test
    void anOldPackThatGoesBeforeTheIndexOfTheNewOneIsThereIsCaught() throws Exception {
        assertThat(caught(Broken.OLD_PACK_FIRST))
                .hasValueSatisfying(m -> assertThat(m).contains("gone"));
    }

    /** Packs with the same chunks, marked long ago, all of them: each by a prune that counted on the other's. */
    private static World twins(long seed, Broken broken) throws Exception {
        World w = new World(seed, broken);
        w.universe = 2;
        w.repository().open();
        for (int i = 1; i <= 2; i++) {
            w.upload(i);
            byte[] mark = new Mark(
                            Mark.FORMAT,
                            w.store.keys(KEYS.packs()).stream()
                                    .map(k -> k.substring(KEYS.packs().length()))
                                    .toList(),
                            List.of())
                    .encode();
            w.store.put(KEYS.gc() + "mark-old" + i, mark, 0, mark.length);
        }
        w.store.now = w.store.now.plus(GRACE.multipliedBy(2));
        w.start(() -> w.prune(2));
        w.start(() -> w.late(20, () -> w.prune(2)));
        w.start(() -> w.late(10, w::forget));
        w.start(() -> w.late(40, () -> w.upload(3)));
        w.runAll();
        w.promises("when all had ended");
        remove(w.state);
        return w;
    }

    @Test
    void twoPacksWithTheSame_ofWhichEachPruneTakesOneForSpare_neverBothGo() throws Exception {
        int uploads = 0;
        for (long seed = 1; seed <= 300; seed++) {
            World w = twins(seed, Broken.NOTHING);
            w.settle();
            uploads += w.uploads;
        }
        assertThat(uploads).isGreaterThan(600);
    }

    @Test
    void aPruneThatCountsOnPacksThatAreMarkedIsCaught() {
        assertThatThrownBy(() -> {
                    for (long seed = 1; seed <= 300; seed++) {
                        twins(seed, Broken.COUNTS_ON_MARKED);
                    }
                })
                .isInstanceOf(Caught.class)
                .hasMessageContaining("gone");
    }

    /**
     * One checkpoint, whose packs are being rewritten and are deleted while one locks what it needs: what the bucket then has locked is enough, also
     * when a prune deletes a pack that was free when it looked.
     */
    @Test
    void whatAHoldHasLockedIsAllThatTheCheckpointNeeds_whateverAPruneDeletesMeanwhile() throws Exception {
        int gone = 0;
        for (long seed = 1; seed <= 300; seed++) {
            World w = new World(seed, Broken.NOTHING);
            w.store.locks = new TreeMap<>();
            w.universe = 8;
            w.packBytes = CHUNK;
            w.repository().open();
            w.upload(1);
            w.store.now = w.store.now.plus(GRACE.multipliedBy(2));
            w.prune(1 + w.random.nextInt(2)); // small packs have been joined, and are marked
            Set<String> before = Set.copyOf(w.store.keys(KEYS.packs()));
            w.store.now = w.store.now.plus(GRACE.multipliedBy(2));
            Instant until = w.store.now.plus(Duration.ofDays(1000));
            w.start(() -> w.late(10, () -> w.prune(3)));
            w.start(() -> w.late(10, () -> {
                var held = new Holder(w.store, KEYS, new Survey(w.store, KEYS, w.repository()), w.clock)
                        .hold("cp-1", null, until, new Progress());
                assertThat(held.locked()).isTrue();
                assertThat(held.note()).doesNotContain("chunks");
                w.held.add("cp-1");
            }));
            w.runAll();
            w.prune(2);
            assertThat(w.refusal).as("seed %d", seed).isNull();
            assertThat(w.held).hasSize(1);
            Set<ChunkId> kept = new HashSet<>();
            for (String key : w.store.keys(KEYS.indexes())) {
                for (Table t : IndexFormat.decode(key, w.store.peek(key), false)) {
                    String pack = KEYS.pack(t.id());
                    if (w.store.has(pack) && until.equals(w.store.locks.get(pack))) {
                        t.content().forEach(e -> kept.add(e.id()));
                    }
                }
            }
            assertThat(kept).as("seed %d: chunks that are locked", seed).containsAll(w.needs.get("cp-1"));
            gone += w.store.keys(KEYS.packs()).containsAll(before) ? 0 : 1;
            remove(w.state);
        }
        assertThat(gone).as("runs in which packs went").isGreaterThan(100);
    }

    /** One checkpoint, that one wants to forget and another to hold. */
    private static World duel(long seed, Broken broken) throws Exception {
        World w = new World(seed, broken);
        w.repository().open();
        w.upload(1);
        w.start(() -> w.late(10, w::forget));
        w.start(() -> w.late(10, w::hold));
        w.runAll();
        w.promises("when both had ended");
        remove(w.state);
        return w;
    }

    @Test
    void aHoldAndAForgetAtOnce_neverBothGoOn() throws Exception {
        for (long seed = 1; seed <= 200; seed++) {
            duel(seed, Broken.NOTHING);
        }
    }

    @Test
    void aForgetThatStoodForLongerThanTheGracePeriodIsStillSeenByAHold() throws Exception {
        World w = new World(1, Broken.NOTHING);
        w.repository().open();
        w.upload(1);
        Actor forget = w.start(w::forget);
        for (int i = 0; i < 3; i++) { // it has said so, and seen no hold
            forget.permit.release();
            w.arrived.acquireUninterruptibly();
        }
        w.store.now = w.store.now.plus(GRACE.multipliedBy(3));
        w.prune(1);

        assertThatThrownBy(() -> new Holder(w.store, KEYS, new Survey(w.store, KEYS, w.repository()), w.clock)
                        .hold("cp-1", null, null, new Progress()))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("is being forgotten");

        w.runAll();
        // both gave way: the checkpoint is there, and stays held
        assertThat(w.store.keys(KEYS.checkpoints())).hasSize(1);
        assertThat(w.store.keys(KEYS.holds())).hasSize(1);

        // what a hold that came too late has left goes once it is old
        w.store.put(KEYS.hold("cp-forgotten"), new byte[] {1}, 0, 1);
        w.prune(1);
        assertThat(w.store.keys(KEYS.holds())).as("young").hasSize(2);
        w.store.now = w.store.now.plus(Duration.ofDays(2)).plus(GRACE);
        w.prune(1);
        assertThat(w.store.keys(KEYS.holds())).containsExactly(KEYS.hold("cp-1"));
        remove(w.state);
    }

    @Test
    void aForgetThatAHoldCannotSeeIsCaught() {
        assertThatThrownBy(() -> {
                    for (long seed = 1; seed <= 5000; seed++) {
                        duel(seed, Broken.FORGET_UNSEEN);
                    }
                })
                .isInstanceOf(Caught.class)
                .hasMessageContaining("held");
    }
}
