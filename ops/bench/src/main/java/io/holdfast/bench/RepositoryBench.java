package io.holdfast.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.holdfast.devstack.FaultProxy;
import io.holdfast.devstack.S3Server;
import io.holdfast.e2e.Damage;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.adapter.file.LinuxSparseMap;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Puller;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.WrapKey;
import io.holdfast.storage.maintenance.Keeper;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * {@code repository}: the repository's own code against a real S3 server, without broker and VMs: archive and restore of
 * incompressible data beside raw puts and gets of the same client in the same run, by turns; the pipeline of one core beside
 * memcpy; archive and restore with 100 ms more latency, also with packs of other sizes; a prune that rewrites packs; and, of real guests' memory, how much a second checkpoint, twelve guests of one OS
 * and different chunk sizes store. On request ({@code database}) the same of memory and disk of a Debian guest whose PostgreSQL works.
 *
 * <p>Options: {@code --size MIB --runs N --transfers N --workers N --guests N --idle SECONDS --json FILE}, {@code --parts
 * pipeline,speed,latency,packs,repack,guests,chunks,database}; of the database {@code --scale N} (15 MiB each) and {@code --rate N} (transactions a second).
 */
final class RepositoryBench {
    private static final int MIB = 1 << 20;
    private static final int CHUNK = 64 * 1024;
    private static final int PACK = 16 * MIB;
    private static final int WRITE = 256 * 1024;

    private final PrintStream out;
    private final Options options;
    private final Map<String, Object> results = new LinkedHashMap<>();
    private final Path base;
    private final int transfers;
    private final int workers;
    private int names;

    private RepositoryBench(PrintStream out, Options options, Path base) {
        this.out = out;
        this.options = options;
        this.base = base;
        this.transfers = options.number("--transfers", 4);
        this.workers = options.number("--workers", 2);
    }

    /** Runs it. */
    static void run(PrintStream out, Options options) {
        Path base = null;
        try {
            base = Files.createTempDirectory("holdfast-bench-repository");
            new RepositoryBench(out, options, base).all();
        } catch (IOException | StorageException | InterruptedException | ExecutionException e) {
            throw new IllegalStateException(e);
        } finally {
            Damage.deleteTree(base);
        }
    }

    private void all() throws IOException, StorageException, InterruptedException, ExecutionException {
        List<String> parts = List.of(options.text("--parts", "pipeline,speed,latency,packs,repack,guests,chunks")
                .split(",", -1));
        if (parts.contains("pipeline")) {
            pipeline();
        }
        try (S3Server s3 = S3Server.start(base.resolve("s3"), 0)) {
            if (parts.contains("speed")) {
                speed(s3);
            }
            if (parts.contains("latency")) {
                latency(s3);
            }
            if (parts.contains("packs")) {
                packs(s3);
            }
            if (parts.contains("repack")) {
                repack(s3);
            }
            if (parts.contains("guests") || parts.contains("chunks")) {
                guests(s3, parts);
            }
            if (parts.contains("database")) {
                database(s3);
            }
        }
        Path json = Path.of(options.text("--json", "bench-repository.json"));
        new ObjectMapper().writerWithDefaultPrettyPrinter().writeValue(json.toFile(), results);
        out.println();
        out.println("One machine: client, S3 server, disk and page cache share its processors. Written to " + json);
    }

    // --- one core
    // -------------------------------------------------------------------------------------------------------------

    private interface Work {
        void run() throws StorageException;
    }

    /** GB in a second of a processor's time, which others on the machine do not take: the best of several runs. */
    private static double rate(long bytes, Work work) throws StorageException {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        double best = 0;
        for (int i = 0; i < 5; i++) {
            long start = threads.getCurrentThreadCpuTime();
            long done = 0;
            do {
                work.run();
                done += bytes;
            } while (threads.getCurrentThreadCpuTime() - start < 300_000_000L);
            best = Math.max(best, done / (double) (threads.getCurrentThreadCpuTime() - start));
        }
        return best;
    }

    private void pipeline() throws StorageException {
        byte[] random = new byte[PACK];
        new Random(1).nextBytes(random);
        byte[] text = text();
        byte[] other = new byte[PACK];
        ZstdCodec codec = new ZstdCodec(1);
        WrapKey key = WrapKey.parse(WrapKey.random(), "bench");
        Vault sealed =
                RepositoryConfig.create("bench", Instant.now(), CHUNK, key).vault();
        out.println("PIPELINE, one core, 64 KiB chunks, GB/s        incompressible  compressible");
        Map<String, Object> json = new LinkedHashMap<>();
        row(json, "memcpy", random, text, d -> System.arraycopy(d, 0, other, 0, PACK));
        row(json, "SHA-256", random, text, d -> each(at -> ChunkId.of(d, at, CHUNK)));
        row(
                json,
                "HMAC-SHA-256 (ids of an encrypted one)",
                random,
                text,
                d -> each(at -> sealed.chunkId(d, at, CHUNK)));
        ChunkId[] two = new ChunkId[2];
        for (Vault v : List.of(Vault.NONE, sealed)) {
            String name = (v.sealed() ? "HMAC-SHA-256" : "SHA-256") + ", two chunks at a time";
            row(json, name, random, text, d -> {
                for (int at = 0; at < PACK; at += 2 * CHUNK) {
                    v.chunkIds(d, at, d, at + CHUNK, CHUNK, two);
                }
            });
        }
        row(json, "zstd level 1", random, text, d -> each(at -> codec.compress(d, at, CHUNK, other, 0, CHUNK - 1)));
        for (Vault v : List.of(Vault.NONE, sealed)) {
            String name = v.sealed() ? "id + zstd + encrypt + digest of pack" : "id + zstd + digest of pack";
            PackFormat.Builder b = new PackFormat.Builder(PACK, CHUNK, v);
            row(json, name, random, text, d -> {
                b.clear();
                for (int at = 0; at < PACK; at += 2 * CHUNK) {
                    v.chunkIds(d, at, d, at + CHUNK, CHUNK, two);
                    b.add(two[0], d, at, CHUNK, codec);
                    b.add(two[1], d, at + CHUNK, CHUNK, codec);
                }
                b.seal();
            });
        }
        results.put("pipelineGBs", json);
    }

    private interface Step {
        void at(int offset);
    }

    private static void each(Step s) {
        for (int at = 0; at < PACK; at += CHUNK) {
            s.at(at);
        }
    }

    private interface OnData {
        void run(byte[] data);
    }

    private void row(Map<String, Object> json, String name, byte[] random, byte[] text, OnData work)
            throws StorageException {
        double r = rate(PACK, () -> work.run(random));
        double t = rate(PACK, () -> work.run(text));
        out.printf(Locale.ROOT, "  %-44s %14.2f %13.2f%n", name, r, t);
        json.put(name, List.of(r, t));
    }

    private static byte[] text() {
        byte[] text = new byte[PACK];
        Random random = new Random(2);
        for (int i = 0; i < PACK; i++) {
            text[i] = (byte)
                    (i % 64 < 40 ? "struct page { unsigned long flags; } ...".charAt(i % 64) : random.nextInt(64));
        }
        return text;
    }

    // --- speed
    // ------------------------------------------------------------------------------------------------------------------

    private S3ObjectStore store(String endpoint, S3Server s3, String bucket) throws StorageException {
        S3ObjectStore store = new S3ObjectStore(new S3ObjectStore.Access(
                endpoint, "us-east-1", s3.accessKey(), s3.secretKey(), bucket, Duration.ofSeconds(60)));
        store.check(true);
        return store;
    }

    /** One host's side of a repository in a bucket. */
    private record Host(
            Archiver archiver, Puller puller, Repository repository, Path images, S3ObjectStore store, Keys keys) {}

    private Host host(S3ObjectStore store, String prefix, int chunk, WrapKey key) throws IOException {
        return host(store, prefix, chunk, PACK, key);
    }

    private Host host(S3ObjectStore store, String prefix, int chunk, int pack, WrapKey key) throws IOException {
        Path folder = base.resolve("host" + ++names);
        Path images = Files.createDirectories(folder.resolve("images"));
        Path state = Files.createDirectories(folder.resolve("state"));
        Settings settings = new Settings("h", images, state, chunk, pack, workers, transfers);
        Keys keys = new Keys(prefix);
        Repository repository = new Repository(store, keys, chunk, key);
        Indexes indexes = new Indexes(store, keys, repository, state);
        ZstdCodec codec = new ZstdCodec(1);
        return new Host(
                new Archiver(store, keys, repository, indexes, codec, new LinuxSparseMap(), settings),
                new Puller(store, keys, repository, indexes, codec, settings),
                repository,
                images,
                store,
                keys);
    }

    private void randomImage(Path folder, int mib) throws IOException {
        Files.createDirectories(folder);
        byte[] block = new byte[MIB];
        Random random = new Random();
        try (var file = Files.newOutputStream(folder.resolve("ram.img"))) {
            for (int i = 0; i < mib; i++) {
                random.nextBytes(block);
                file.write(block);
            }
        }
    }

    private static void commit(Host h, String checkpoint, Archiver.Result r) throws StorageException {
        h.repository()
                .commit(new CheckpointManifest(
                        1,
                        checkpoint,
                        "bench",
                        null,
                        Instant.now(),
                        new InstanceLayout("bench", null, List.of(), Map.of()),
                        r.vms(),
                        List.of(),
                        new CutFigures(List.of())));
    }

    private double parallel(int tasks, Task task) throws InterruptedException, ExecutionException {
        AtomicInteger next = new AtomicInteger();
        long start = System.nanoTime();
        try (ExecutorService threads = Executors.newFixedThreadPool(transfers)) {
            List<Future<Void>> running = new ArrayList<>();
            for (int t = 0; t < transfers; t++) {
                Callable<Void> work = () -> {
                    for (int i = next.getAndIncrement(); i < tasks; i = next.getAndIncrement()) {
                        task.run(i);
                    }
                    return null;
                };
                running.add(threads.submit(work));
            }
            for (Future<Void> f : running) {
                f.get();
            }
        }
        return (System.nanoTime() - start) / 1e9;
    }

    private interface Task {
        void run(int number) throws StorageException;
    }

    /** Something that is timed. */
    private interface Timed {
        void run() throws IOException, StorageException, InterruptedException, ExecutionException;
    }

    /** What was measured of each kind of run, in the order of the runs. */
    private static final class Series {
        final Map<String, List<Double>> rates = new LinkedHashMap<>();
        final Map<String, List<Double>> client = new LinkedHashMap<>();
        final Map<String, List<Double>> server = new LinkedHashMap<>();
    }

    private static double cpuSeconds(ProcessHandle p) {
        return p.info().totalCpuDuration().orElse(Duration.ZERO).toNanos() / 1e9;
    }

    /** MiB in a second, and the processor seconds per GiB of this process and of the S3 server. */
    private void time(Series s, String name, int mib, S3Server s3, Timed work)
            throws IOException, StorageException, InterruptedException, ExecutionException {
        ProcessHandle server = ProcessHandle.of(s3.ids().pid()).orElseThrow();
        ProcessHandle client = ProcessHandle.current();
        double clientBefore = cpuSeconds(client);
        double serverBefore = cpuSeconds(server);
        long start = System.nanoTime();
        work.run();
        double seconds = (System.nanoTime() - start) / 1e9;
        s.rates.computeIfAbsent(name, x -> new ArrayList<>()).add(mib / seconds);
        s.client.computeIfAbsent(name, x -> new ArrayList<>()).add((cpuSeconds(client) - clientBefore) * 1024 / mib);
        s.server.computeIfAbsent(name, x -> new ArrayList<>()).add((cpuSeconds(server) - serverBefore) * 1024 / mib);
    }

    /** Writes an object to a file and syncs it: what anybody who restores must do besides getting. */
    private static void toFile(Path folder, int number, byte[] data) {
        try (FileChannel c =
                FileChannel.open(folder.resolve("f" + number), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            for (int at = 0; at < data.length; at += WRITE) { // with one call the JDK would first copy all of it
                ByteBuffer b = ByteBuffer.wrap(data, at, Math.min(WRITE, data.length - at));
                while (b.hasRemaining()) {
                    c.write(b);
                }
            }
            c.force(true);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void speed(S3Server s3) throws IOException, StorageException, InterruptedException, ExecutionException {
        int mib = options.number("--size", 512);
        int runs = options.number("--runs", 3);
        int objects = mib * MIB / PACK;
        byte[] data = new byte[PACK];
        new Random().nextBytes(data);
        out.printf(
                "%nSPEED, %d MiB of incompressible data, objects of 16 MiB, %d at a time, %d workers; medians of %d runs by turns%n",
                mib, transfers, workers, runs);
        Series s = new Series();
        try (S3ObjectStore store = store(s3.endpoint(), s3, "speed")) {
            for (int run = 0; run <= runs; run++) {
                if (run == 1) {
                    s = new Series(); // the first one warms up
                }
                turn(s, store, s3, run, mib, objects, data);
                Damage.deleteTree(base.resolve("s3/data/speed"));
                store.check(true);
            }
        }
        Map<String, Object> json = table(s);
        for (String encrypted : List.of("", " encrypted")) {
            ratio(json, s.rates, "archive" + encrypted, "raw put");
            ratio(json, s.rates, "restore" + encrypted, "raw get");
            ratio(json, s.rates, "restore" + encrypted, "get to synced files");
        }
        results.put("speedMiBs", json);
    }

    /** Prints what was measured, and returns it. */
    private Map<String, Object> table(Series s) {
        Map<String, Object> json = new LinkedHashMap<>();
        out.printf("  %-28s %8s  %-28s %s%n", "", "MiB/s", "each", "processor s per GiB: client, S3 server");
        for (var e : s.rates.entrySet()) {
            json.put(e.getKey(), e.getValue());
            double client = median(s.client.get(e.getKey()));
            double server = median(s.server.get(e.getKey()));
            json.put(e.getKey() + " processor s per GiB", List.of(client, server));
            out.printf(
                    Locale.ROOT,
                    "  %-28s %8.0f  %-28s %.2f, %.2f%n",
                    e.getKey(),
                    median(e.getValue()),
                    round(e.getValue()),
                    client,
                    server);
        }
        return json;
    }

    private void ratio(Map<String, Object> json, Map<String, List<Double>> rates, String what, String of) {
        double ratio = median(rates.get(what)) / median(rates.get(of));
        json.put(what + " of " + of, ratio);
        out.printf(Locale.ROOT, "  %-24s %8.2f of %s (target 0.60)%n", what, ratio, of);
    }

    /** Raw and ours by turns. */
    private void turn(Series s, S3ObjectStore store, S3Server s3, int run, int mib, int objects, byte[] data)
            throws IOException, StorageException, InterruptedException, ExecutionException {
        String raw = "raw" + run + "/";
        for (boolean encrypted : new boolean[] {false, true}) {
            String name = encrypted ? " encrypted" : "";
            WrapKey key = encrypted ? WrapKey.parse(WrapKey.random(), "bench") : null;
            String prefix = "r" + run + (encrypted ? "e" : "p");
            Host h = host(store, prefix, CHUNK, key);
            randomImage(h.images().resolve("cp-1").resolve("a"), mib);
            time(s, "raw put", mib, s3, () -> parallel(objects, i -> store.put(raw + i, data, 0, data.length)));
            Archiver.Result[] r = new Archiver.Result[1];
            time(s, "archive" + name, mib, s3, () -> r[0] = h.archiver().archive("cp-1", List.of("a"), new Progress()));
            commit(h, "cp-1", r[0]);
            Damage.deleteTree(h.images().resolve("cp-1"));
            time(s, "raw get", mib, s3, () -> parallel(objects, i -> store.get(raw + i, PACK)));
            Host reader = host(store, prefix, CHUNK, key);
            time(s, "restore" + name, mib, s3, () -> reader.puller().pull("cp-1", null, List.of("a"), new Progress()));
            Damage.deleteTree(reader.images());
            Path files = Files.createDirectories(base.resolve("files"));
            time(
                    s,
                    "get to synced files",
                    mib,
                    s3,
                    () -> parallel(objects, i -> toFile(files, i, store.get(raw + i, PACK))));
            Damage.deleteTree(files);
        }
    }

    /**
     * A prune of packs of which every second chunk is needed, beside gets of such objects and puts of half as much, one at a time as a prune does it. A
     * rate counts what is read.
     */
    private void repack(S3Server s3) throws IOException, StorageException, InterruptedException, ExecutionException {
        int mib = options.number("--size", 512);
        int runs = options.number("--runs", 3);
        byte[] data = new byte[PACK];
        new Random().nextBytes(data);
        out.printf(
                "%nREPACK, %d MiB of incompressible data in packs of 16 MiB of which half is needed, one pack at a time; MiB/s read, medians of %d runs by turns%n",
                mib, runs);
        Series s = new Series();
        try (S3ObjectStore store = store(s3.endpoint(), s3, "repack")) {
            Duration grace = Duration.ofSeconds(20);
            List<Host> hosts = new ArrayList<>();
            for (int run = 0; run <= runs; run++) {
                for (boolean encrypted : new boolean[] {false, true}) {
                    WrapKey key = encrypted ? WrapKey.parse(WrapKey.random(), "bench") : null;
                    Host h = host(store, "p" + run + encrypted, CHUNK, key);
                    h.repository().graceOfNew(grace);
                    randomImage(h.images().resolve("cp-1").resolve("a"), mib);
                    h.archiver().archive("cp-1", List.of("a"), new Progress()); // never committed
                    halve(
                            h.images().resolve("cp-1").resolve("a"),
                            h.images().resolve("cp-2").resolve("a"));
                    commit(h, "cp-2", h.archiver().archive("cp-2", List.of("a"), new Progress()));
                    Damage.deleteTree(h.images());
                    hosts.add(h);
                }
            }
            for (int i = 0; i < mib * MIB / PACK; i++) {
                store.put("raw/" + i, data, 0, PACK);
            }
            Thread.sleep(grace.plusSeconds(4).toMillis()); // younger packs are left alone
            for (int i = 0; i < hosts.size(); i++) {
                if (i == 2) {
                    s = new Series(); // the first two warm up
                }
                Host h = hosts.get(i);
                time(s, "get, put half, one at a time", mib, s3, () -> {
                    for (int k = 0; k < mib * MIB / PACK; k++) {
                        byte[] got = store.get("raw/" + k, PACK);
                        store.put("half/" + k, got, 0, PACK / 2);
                    }
                });
                time(s, "prune" + (i % 2 == 0 ? "" : " encrypted"), mib, s3, () -> prune(h, mib));
            }
        }
        Map<String, Object> json = table(s);
        for (String encrypted : List.of("", " encrypted")) {
            double ratio =
                    median(s.rates.get("prune" + encrypted)) / median(s.rates.get("get, put half, one at a time"));
            json.put("prune" + encrypted + " of raw", ratio);
            out.printf(Locale.ROOT, "  %-28s %8.2f of get and put%n", "prune" + encrypted, ratio);
        }
        Damage.deleteTree(base.resolve("s3/data/repack"));
        results.put("repackMiBs", json);
    }

    private static void prune(Host h, int mib) throws StorageException, InterruptedException {
        var keeper = new Keeper(
                h.store(),
                h.keys(),
                h.repository(),
                new Leases(h.store(), h.keys(), h.repository()),
                new ZstdCodec(1),
                1,
                new Keeper.Repack(PACK, 5, 0, 1L << 40),
                null,
                Clock.systemUTC());
        var done = (Report.Pruned) keeper.execute(
                new Command.Prune(new Command.Header("op", null, "h", "prune", 1, 1), false), new Progress(), r -> {});
        if (done.result().repackedBytes() < (mib - 64L) * MIB) {
            throw new IllegalStateException("not all was rewritten: " + done.result());
        }
    }

    /** An image with every second chunk of another one. */
    private static void halve(Path from, Path to) throws IOException {
        Files.createDirectories(to);
        try (var in = Files.newInputStream(from.resolve("ram.img"));
                var file = Files.newOutputStream(to.resolve("ram.img"))) {
            byte[] two = new byte[2 * CHUNK];
            while (in.readNBytes(two, 0, two.length) == two.length) {
                Arrays.fill(two, CHUNK, two.length, (byte) 0);
                file.write(two);
            }
        }
    }

    private void latency(S3Server s3) throws IOException, StorageException, InterruptedException {
        int mib = options.number("--size", 512);
        out.printf("%nLATENCY, restore of %d MiB of incompressible data; MiB/s%n", mib);
        Map<String, Object> json = new LinkedHashMap<>();
        try (FaultProxy proxy = FaultProxy.before(s3.endpoint());
                S3ObjectStore store = store(proxy.endpoint(), s3, "latency")) {
            Host h = host(store, "r", CHUNK, null);
            randomImage(h.images().resolve("cp-1").resolve("a"), mib);
            commit(h, "cp-1", h.archiver().archive("cp-1", List.of("a"), new Progress()));
            Damage.deleteTree(h.images());
            proxy.forgetful();
            Map<Integer, List<Double>> rates =
                    new LinkedHashMap<>(Map.of(0, new ArrayList<>(), 100, new ArrayList<>()));
            int runs = options.number("--runs", 3);
            for (int run = 0; run <= runs; run++) {
                for (int millis : new int[] {0, 100}) {
                    proxy.latency(Duration.ofMillis(millis));
                    Host reader = host(store, "r", CHUNK, null);
                    long requests = proxy.requests();
                    long start = System.nanoTime();
                    reader.puller().pull("cp-1", null, List.of("a"), new Progress());
                    double rate = mib / ((System.nanoTime() - start) / 1e9);
                    Damage.deleteTree(reader.images());
                    if (run > 0) { // the first one warms up
                        rates.get(millis).add(rate);
                        json.put("requests", proxy.requests() - requests);
                    }
                }
            }
            for (int millis : new int[] {0, 100}) {
                json.put(millis + " ms", rates.get(millis));
                out.printf(
                        Locale.ROOT,
                        "  %3d ms more per request and connection %8.0f  %s%n",
                        millis,
                        median(rates.get(millis)),
                        round(rates.get(millis)));
            }
            double ratio = median(rates.get(100)) / median(rates.get(0));
            json.put("ratio", ratio);
            out.printf(
                    Locale.ROOT,
                    "  with 100 ms more           %8.2f of without; %s requests%n",
                    ratio,
                    json.get("requests"));
        }
        Damage.deleteTree(base.resolve("s3/data/latency"));
        results.put("latencyMiBs", json);
    }

    /** Archive and restore with packs of several sizes, near and far. */
    private void packs(S3Server s3) throws IOException, StorageException, InterruptedException {
        int mib = options.number("--size", 512);
        int runs = options.number("--runs", 3);
        out.printf(
                "%nPACKS of several sizes, %d MiB of incompressible data, %d at a time; MiB/s, medians of %d runs by turns%n",
                mib, transfers, runs);
        int[] sizes = {4 * MIB, PACK, 32 * MIB}; // six of 64 MiB do not fit into the heap of a service
        Map<String, List<Double>> rates = new LinkedHashMap<>();
        for (int run = 0; run <= runs; run++) {
            for (int pack : sizes) {
                for (int millis : new int[] {0, 100}) {
                    String bucket = "packs-" + pack / MIB + "-" + millis + "-" + run;
                    try (FaultProxy proxy = FaultProxy.before(s3.endpoint());
                            S3ObjectStore store = store(proxy.endpoint(), s3, bucket)) {
                        Host h = host(store, "r", CHUNK, pack, null);
                        randomImage(h.images().resolve("cp-1").resolve("a"), mib);
                        proxy.forgetful();
                        proxy.latency(Duration.ofMillis(millis));
                        long start = System.nanoTime();
                        Archiver.Result r = h.archiver().archive("cp-1", List.of("a"), new Progress());
                        double archive = mib / ((System.nanoTime() - start) / 1e9);
                        commit(h, "cp-1", r);
                        Damage.deleteTree(h.images());
                        Host reader = host(store, "r", CHUNK, pack, null);
                        start = System.nanoTime();
                        reader.puller().pull("cp-1", null, List.of("a"), new Progress());
                        double restore = mib / ((System.nanoTime() - start) / 1e9);
                        Damage.deleteTree(reader.images());
                        if (run > 0) { // the first one warms up
                            String of = pack / MIB + " MiB, " + millis + " ms more: ";
                            rates.computeIfAbsent(of + "archive", x -> new ArrayList<>())
                                    .add(archive);
                            rates.computeIfAbsent(of + "restore", x -> new ArrayList<>())
                                    .add(restore);
                        }
                    }
                    Damage.deleteTree(base.resolve("s3/data").resolve(bucket));
                }
            }
        }
        rates.forEach((what, seen) -> out.printf(Locale.ROOT, "  %-36s %8.0f  %s%n", what, median(seen), round(seen)));
        results.put("packsMiBs", rates);
    }

    // --- memory of real guests
    // ------------------------------------------------------------------------------------------------

    private static final String CMDLINE =
            "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off no_timer_check audit=0"
                    + " tsc=reliable random.trust_cpu=on";

    private Path snapshot(PlainQemu vm, Path ram, String name) throws IOException, InterruptedException {
        Path folder = base.resolve("guests").resolve(name);
        vm.command("stop", "{}");
        copy(ram, folder.resolve("ram.img"));
        vm.command("cont", "{}");
        return folder;
    }

    private static void copy(Path from, Path to) throws IOException, InterruptedException {
        Files.createDirectories(to.getParent());
        if (new ProcessBuilder("cp", "--sparse=always", from.toString(), to.toString())
                        .inheritIO()
                        .start()
                        .waitFor()
                != 0) {
            throw new IOException("cp failed");
        }
    }

    private PlainQemu boot(String name, String memory, String programs, Path ram)
            throws IOException, InterruptedException {
        Path folder = base.resolve("qemu");
        PlainQemu vm = PlainQemu.start(
                folder,
                name,
                "tcg",
                PlainQemu.Memory.in(ram, memory),
                root().resolve(".holdfast/guest"),
                CMDLINE + programs,
                null);
        awaitLine(folder.resolve(name + ".log"), "HF-UP", Duration.ofMinutes(2));
        return vm;
    }

    private static void awaitLine(Path log, String line, Duration limit) throws IOException, InterruptedException {
        long end = System.nanoTime() + limit.toNanos();
        while (!Files.exists(log) || !Files.readString(log).contains(line)) {
            if (System.nanoTime() > end) {
                throw new IOException("the guest did not say " + line + ": " + log);
            }
            Thread.sleep(200);
        }
    }

    /** Memory and disk of a Debian guest with a database that works, twice: what each chunk size stores of them. */
    private void database(S3Server s3) throws IOException, StorageException, InterruptedException {
        Path guest = root().resolve(".holdfast/debian"); // the launcher has it built
        int scale = options.number("--scale", 20);
        int rate = options.number("--rate", 50);
        int idle = options.number("--idle", 60);
        Path qemu = Files.createDirectories(base.resolve("qemu"));
        Path ram = qemu.resolve("ram");
        Path disk = qemu.resolve("disk");
        copy(guest.resolve("disk.img"), disk);
        Map<String, Path> images = new LinkedHashMap<>();
        out.printf(
                "%nDATABASE, Debian 12, 1 GiB, PostgreSQL: pgbench -s %d (%d MiB), %d transactions a second; twice, %d s apart%n",
                scale, 15 * scale, rate, idle);
        String cmdline =
                "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off no_timer_check tsc=reliable db.scale="
                        + scale + " db.rate=" + rate;
        try (PlainQemu vm = PlainQemu.start(
                qemu, "database", "tcg", PlainQemu.Memory.in(ram, "1GiB"), guest, cmdline, null, disk)) {
            Path log = qemu.resolve("database.log");
            awaitLine(log, "DB-READY", Duration.ofMinutes(10));
            for (int i = 1; i <= 2; i++) {
                Thread.sleep(Duration.ofSeconds(idle));
                vm.command("stop", "{}"); // and its disk is flushed
                Path memory = base.resolve("guests/memory-" + i);
                Path content = base.resolve("guests/disk-" + i);
                copy(ram, memory.resolve("ram.img"));
                copy(disk, content.resolve("disk-root.img"));
                vm.command("cont", "{}");
                images.put("memory-" + i, memory);
                images.put("disk-" + i, content);
                List<String> said = Files.readAllLines(log).stream()
                        .filter(l -> l.startsWith("progress:"))
                        .toList();
                out.println("  pgbench: " + (said.isEmpty() ? "says nothing" : said.getLast()));
            }
        }
        results.put("database", chunkSizes(s3, images, true));
    }

    private void guests(S3Server s3, List<String> parts) throws IOException, StorageException, InterruptedException {
        int idle = options.number("--idle", 60);
        int count = options.number("--guests", 12);
        Map<String, Path> images = new LinkedHashMap<>();
        Files.createDirectories(base.resolve("qemu"));
        out.printf("%nGUESTS: memory of real guests under QEMU (Linux, busybox)%n");
        Path ram = base.resolve("qemu/ram");
        try (PlainQemu vm = boot("idle", "1GiB", "", ram)) {
            Thread.sleep(5000);
            images.put("idle-1", snapshot(vm, ram, "idle-1"));
            Thread.sleep(Duration.ofSeconds(idle));
            images.put("idle-2", snapshot(vm, ram, "idle-2"));
        }
        Files.delete(ram);
        try (PlainQemu vm = boot("busy", "512MiB", " hf.run=touch,192,4000", ram)) {
            Thread.sleep(20_000);
            images.put("busy-1", snapshot(vm, ram, "busy-1"));
            Thread.sleep(Duration.ofSeconds(Math.min(idle, 20)));
            images.put("busy-2", snapshot(vm, ram, "busy-2"));
        }
        Files.delete(ram);
        for (int i = 0; i < count; i++) {
            try (PlainQemu vm = boot("os" + i, "256MiB", "", ram)) {
                Thread.sleep(2000);
                images.put("os-" + i, snapshot(vm, ram, "os-" + i));
            }
            Files.delete(ram);
        }
        if (parts.contains("guests")) {
            results.put("guests", stored(s3, images, CHUNK, true));
        }
        if (parts.contains("chunks")) {
            out.printf("%nCHUNK SIZE, all of those images in one repository%n");
            results.put("chunkSizes", chunkSizes(s3, images, false));
        }
    }

    private Map<String, Object> chunkSizes(S3Server s3, Map<String, Path> images, boolean each)
            throws IOException, StorageException, InterruptedException {
        Map<String, Object> json = new LinkedHashMap<>();
        for (int chunk : new int[] {4, 16, 64, 256, 1024}) {
            json.put(chunk + " KiB", stored(s3, images, chunk * 1024, each));
        }
        return json;
    }

    private static Path root() {
        return Path.of(System.getenv().getOrDefault("HOLDFAST_ROOT", "."));
    }

    private Map<String, Object> stored(S3Server s3, Map<String, Path> images, int chunk, boolean each)
            throws IOException, StorageException, InterruptedException {
        String bucket = "guests-" + chunk + "-" + ++names;
        Map<String, Object> json = new LinkedHashMap<>();
        try (S3ObjectStore store = store(s3.endpoint(), s3, bucket)) {
            Host h = host(store, "r", chunk, null);
            long data = 0;
            long os = 0;
            long osStored = 0;
            Map<String, Long> uploaded = new LinkedHashMap<>();
            double seconds = 0;
            for (Map.Entry<String, Path> e : images.entrySet()) {
                String cp = "cp-" + e.getKey();
                Files.createDirectories(h.images().resolve(cp));
                Path folder = h.images().resolve(cp).resolve("a");
                Files.move(e.getValue(), folder);
                long start = System.nanoTime();
                Archiver.Result r = h.archiver().archive(cp, List.of("a"), new Progress());
                seconds += (System.nanoTime() - start) / 1e9;
                commit(h, cp, r);
                Files.move(folder, e.getValue());
                var f = r.figures();
                data += f.dataBytes();
                if (e.getKey().startsWith("os-")) {
                    os += f.dataBytes();
                    osStored += f.storedBytes();
                }
                if (each) {
                    String more = "";
                    Long first = uploaded.get(e.getKey().replaceAll("-2$", "-1"));
                    if (first != null && !e.getKey().startsWith("os-")) {
                        more = String.format(Locale.ROOT, ", %.1f %% of the first", 100.0 * f.storedBytes() / first);
                        json.put(e.getKey() + " of first", (double) f.storedBytes() / first);
                    }
                    out.printf(
                            Locale.ROOT,
                            "  %-8s %7.1f MiB of data, %7.1f new, %7.1f uploaded%s%n",
                            e.getKey(),
                            f.dataBytes() / (double) MIB,
                            f.newBytes() / (double) MIB,
                            f.storedBytes() / (double) MIB,
                            more);
                }
                uploaded.put(e.getKey(), f.storedBytes());
            }
            if (each && os > 0) {
                out.printf(
                        Locale.ROOT,
                        "  guests of one OS: %.1f MiB of data store %.1f MiB: %.1f %% (target 35 %%)%n",
                        os / (double) MIB,
                        osStored / (double) MIB,
                        100.0 * osStored / os);
                json.put("one OS stored of sum", (double) osStored / os);
            }
            Map<String, Long> sizes = new LinkedHashMap<>();
            for (String kind : List.of("packs/", "index/", "vms/")) {
                long n = 0;
                for (Stored s : store.list("r/" + kind)) {
                    n += s.bytes();
                }
                sizes.put(kind, n);
            }
            long all = sizes.values().stream().mapToLong(Long::longValue).sum();
            out.printf(
                    Locale.ROOT,
                    "  %5d KiB chunks: %.0f MiB of data, packs %.1f MiB, index %.2f MiB, VM manifests %.2f MiB: ratio %.2f;"
                            + " archive %.0f MiB/s%n",
                    chunk / 1024,
                    data / (double) MIB,
                    sizes.get("packs/") / (double) MIB,
                    sizes.get("index/") / (double) MIB,
                    sizes.get("vms/") / (double) MIB,
                    data / (double) all,
                    data / (double) MIB / seconds);
            json.put("chunkBytes", chunk);
            json.put("dataBytes", data);
            json.put("storedBytes", sizes);
            json.put("ratio", data / (double) all);
            json.put("archiveMiBs", data / (double) MIB / seconds);
        }
        Damage.deleteTree(base.resolve("s3/data").resolve(bucket));
        return json;
    }

    // --- small things
    // -----------------------------------------------------------------------------------------------------------

    private static double median(List<Double> v) {
        List<Double> s = v.stream().sorted().toList();
        int n = s.size();
        return n % 2 == 1 ? s.get(n / 2) : (s.get(n / 2 - 1) + s.get(n / 2)) / 2;
    }

    private static List<Long> round(List<Double> v) {
        return v.stream().map(Math::round).toList();
    }
}
