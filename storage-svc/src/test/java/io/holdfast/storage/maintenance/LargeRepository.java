package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Puller;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.SparseMap.Extent;
import io.holdfast.storage.domain.VmManifest;
import io.holdfast.storage.domain.WrapKey;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * Maintenance of a repository of that many made-up chunks, and archive and pull of a VM of that many, under whatever heap the JVM was
 * given: {@code java -Xmx... LargeRepository keep|move FOLDER CHUNKS}. A program of its own, so that the heap's limit is the test. Everything is
 * encrypted.
 */
public final class LargeRepository {
    private static final int PER_PACK = 256;
    /** So many chunks are needed of a pack of which little is. */
    private static final int LITTLE = 10;

    private static final int CHUNK = 64 * 1024;
    private static final int SMALL_CHUNK = 4096;
    private static final Keys KEYS = new Keys("p");
    private static final Command.Header HEADER = new Command.Header("op-1", null, "h1", "keep", 1, 1);

    private final Path folder;
    private final long chunks;
    private final FolderStore store;
    private long start = System.nanoTime();

    private LargeRepository(Path folder, long chunks) {
        this.folder = folder;
        this.chunks = chunks;
        this.store = new FolderStore(folder.resolve("bucket"));
    }

    public static void main(String[] args) throws Exception {
        LargeRepository large = new LargeRepository(Path.of(args[1]), Long.parseLong(args[2]));
        if (args[0].equals("keep")) {
            large.keep();
        } else {
            large.move();
        }
    }

    private void say(String what) throws IOException {
        System.gc();
        Runtime r = Runtime.getRuntime();
        String memory = Files.readString(Path.of("/proc/self/status"))
                .lines()
                .filter(l -> l.startsWith("RssAnon") || l.startsWith("RssFile") || l.startsWith("VmHWM"))
                .map(l -> l.replaceAll("\\s+", " "))
                .toList()
                .toString();
        System.out.printf(
                Locale.ROOT,
                "%s: %.1f s, heap in use %d MiB of %d, %s%n",
                what,
                (System.nanoTime() - start) / 1e9,
                (r.totalMemory() - r.freeMemory()) >> 20,
                r.maxMemory() >> 20,
                memory);
        start = System.nanoTime();
    }

    private Path state(String name) throws IOException {
        return Files.createDirectories(folder.resolve(name));
    }

    private static Table table(long pack) {
        Random r = new Random(pack);
        List<Entry> entries = new ArrayList<>(PER_PACK);
        ChunkId id = new ChunkId(r.nextLong(), r.nextLong(), r.nextLong(), r.nextLong());
        for (int i = 0; i < PER_PACK; i++) {
            entries.add(new Entry(
                    new ChunkId(r.nextLong(), r.nextLong(), r.nextLong(), r.nextLong()),
                    CHUNK,
                    40_000,
                    PackFormat.SEALED | PackFormat.ZSTD));
        }
        return new Table(id, entries);
    }

    /** VMs with all the chunks but those of the last pack of a hundred, which is garbage, and most of the one before, of which little is needed. */
    private void keep() throws Exception {
        Path state = state("state");
        Repository repository = new Repository(store, KEYS, CHUNK, WrapKey.parse(WrapKey.random(), "test"))
                .roomOfLarge(new MappedRoom(state));
        repository.open();
        long packs = chunks / PER_PACK;
        long perVm = (4L << 20) / PER_PACK; // 256 GiB
        List<Table> tables = new ArrayList<>();
        for (long p = 0; p < packs; p++) {
            Table t = table(p);
            store.putHole(KEYS.pack(t.id()), t.objectBytes());
            tables.add(t);
            if (tables.size() == 128 || p == packs - 1) {
                byte[] index = repository.sealed(KEYS.indexes(), IndexFormat.encode(tables));
                store.put(KEYS.index(ChunkId.of(index)), index, 0, index.length);
                tables.clear();
            }
        }
        long vms = 0;
        for (long first = 0; first < packs; first += perVm) {
            long end = Math.min(packs, first + perVm);
            String id = "cp-" + ++vms;
            VmManifest vm = manifest(id, first, end, state);
            var put = repository.put(KEYS.vm(id, "a"), vm);
            repository.commit(SimRepository.manifest(
                    id,
                    Instant.EPOCH,
                    new VmArchive("a", KEYS.vm(id, "a"), put.sha256().hex())));
        }
        say("made " + packs * PER_PACK + " chunks, " + packs + " packs, " + vms + " VMs");
        store.now = store.now.plus(Duration.ofDays(3));
        Keeper keeper = keeper(repository, state, 100);
        var verified = ((Report.Verified) keeper.execute(new Command.Verify(HEADER, null, 0), new Progress(), r -> {}))
                .result();
        check(verified.sound(), "verify: " + verified);
        say("VERIFIED " + verified.chunks() + " chunks");
        var stats =
                ((Report.Counted) keeper.execute(new Command.Stats(HEADER, null), new Progress(), r -> {})).result();
        check(stats.chunks() == verified.chunks(), "stats: " + stats);
        say("COUNTED " + stats.chunks() + " chunks");
        long garbage = 0;
        store.now = store.now.plus(Duration.ofDays(3));
        var dry = ((Report.Pruned)
                        keeper(repository, state, 0).execute(new Command.Prune(HEADER, true), new Progress(), r -> {}))
                .result();
        check(dry.repackedPacks() == packs / 100, "would be repacked: " + dry);
        check(dry.copiedBytes() == packs / 100 * LITTLE * 40_000, "would be copied: " + dry);
        say("WOULD BE REPACKED " + dry);
        for (int i = 0; i < 2; i++) {
            var pruned = ((Report.Pruned) keeper.execute(new Command.Prune(HEADER, false), new Progress(), r -> {}))
                    .result();
            garbage = i == 0 ? pruned.markedPacks() : pruned.deletedPacks();
            say("PRUNED " + pruned);
            store.now = store.now.plus(Duration.ofDays(3));
        }
        check(garbage == packs / 100, garbage + " packs of garbage");
        Indexes indexes = new Indexes(store, KEYS, repository, state);
        indexes.refresh();
        check(indexes.chunks() == (packs - packs / 100) * PER_PACK, "in the index: " + indexes.chunks());
        say("INDEXED " + indexes.chunks() + " chunks");
    }

    private Keeper keeper(Repository repository, Path state, int maxUnusedPercent) {
        return new Keeper(
                store,
                KEYS,
                repository,
                new Leases(store, KEYS, repository),
                new ZstdCodec(1),
                2,
                new Keeper.Repack(1 << 24, maxUnusedPercent, 25, 1L << 50),
                state,
                Clock.systemUTC());
    }

    private static VmManifest manifest(String id, long first, long end, Path state) throws Exception {
        VmManifest.Runs runs = VmManifest.runs(
                each -> {
                    ByteBuffer raw = ByteBuffer.allocate(ChunkId.BYTES);
                    long number = 0;
                    for (long p = first; p < end; p++) {
                        if (p % 100 == 99) {
                            continue;
                        }
                        for (Entry e : table(p).entries().subList(0, p % 100 == 98 ? LITTLE : PER_PACK)) {
                            e.id().write(raw, 0);
                            each.chunk(number++, raw, 0);
                        }
                    }
                },
                new MappedRoom(state));
        return new VmManifest(
                id, "a", CHUNK, List.of(new VmManifest.File("ram.img", (end - first) * PER_PACK * CHUNK, null, runs)));
    }

    private static void check(boolean good, String what) {
        if (!good) {
            throw new IllegalStateException(what);
        }
    }

    /** Archive, archive again, and pull of a VM whose every chunk is another one, small as chunks may be; every third chunk is zeros. */
    private void move() throws Exception {
        String cp = "cp-1";
        Path state = state("state");
        Path images = state("images");
        Path vm = Files.createDirectories(images.resolve(cp).resolve("a"));
        Path ram = vm.resolve("ram.img");
        write(ram);
        say("made an image of " + chunks + " chunks, " + ((chunks * SMALL_CHUNK) >> 20) + " MiB");
        Repository repository = new Repository(store, KEYS, SMALL_CHUNK, WrapKey.parse(WrapKey.random(), "test"))
                .roomOfLarge(new MappedRoom(state));
        Indexes indexes = new Indexes(store, KEYS, repository, state);
        Settings settings = new Settings("h1", images, state, SMALL_CHUNK, 1 << 20, 1, 2);
        Archiver archiver = new Archiver(
                store,
                KEYS,
                repository,
                indexes,
                new ZstdCodec(1),
                f -> List.of(new Extent(0, Files.size(f))),
                settings);
        Archiver.Result r = archiver.archive(cp, List.of("a"), new Progress());
        say("ARCHIVED " + r.figures());
        Archiver.Result again = archiver.archive(cp, List.of("a"), new Progress());
        check(again.figures().newBytes() == 0 && again.vms().equals(r.vms()), "again: " + again);
        say("ARCHIVED again");
        repository.commit(SimRepository.manifest(cp, Instant.EPOCH, r.vms().get(0)));
        Path original = folder.resolve("original");
        Files.move(ram, original);
        Puller puller = new Puller(store, KEYS, repository, indexes, new ZstdCodec(1), settings);
        long bytes = puller.pull(cp, null, List.of("a"), new Progress());
        check(Files.mismatch(original, ram) == -1, "the image came back as another one");
        say("PULLED " + bytes + " bytes");
    }

    private void write(Path ram) throws IOException {
        try (FileChannel c = FileChannel.open(ram, StandardOpenOption.WRITE, StandardOpenOption.CREATE)) {
            ByteBuffer some = ByteBuffer.allocate(SMALL_CHUNK * 256);
            for (long i = 0; i < chunks; ) {
                some.clear();
                for (; some.hasRemaining() && i < chunks; i++) {
                    int at = some.position();
                    some.putLong(at, i % 3 == 2 ? 0 : i + 1);
                    some.position(at + SMALL_CHUNK);
                }
                some.flip();
                while (some.hasRemaining()) {
                    c.write(some);
                }
            }
        }
    }
}
