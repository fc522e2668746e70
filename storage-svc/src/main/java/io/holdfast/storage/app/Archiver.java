package io.holdfast.storage.app;

import io.holdfast.schemas.event.ArchiveFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.domain.ChunkCodec;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.SparseMap;
import io.holdfast.storage.domain.SparseMap.Extent;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.VmManifest;
import io.holdfast.storage.domain.Zeros;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.SortedSet;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jboss.logging.Logger;

/**
 * Takes images into the repository. Workers read stretches of the files, name their chunks by SHA-256, and put what the
 * repository lacks into packs; full packs are uploaded side by side. An index is written for every 128 packs (or 32768 chunks) and for
 * the last ones, then the VM manifests. The checkpoint's manifest is commit's. Every byte is read once.
 *
 * <p>Memory: {@code workers + transfers} packs and a stretch per worker; the uploads' slowness holds the workers back. What grows with the
 * images, 32 bytes a chunk, is in mapped files.
 *
 * <p>Packs that are counted on because an index names them are looked for twice: when the archive begins, and before it writes VM
 * manifests. If one has vanished between, by whatever hand, the images are read again and what it held is uploaded.
 *
 * <p>Each uploaded pack's table is noted in {@code STATE/uploads/<checkpoint>/}, so that a repeat after a crash or a
 * failure uploads none of them again. The next archive, of whatever checkpoint, takes such notes over: it counts on those
 * packs and brings them into an index, so that none is uploaded again or forgotten. One archive at a time.
 */
public final class Archiver {
    private static final Logger LOG = Logger.getLogger(Archiver.class);
    /** Bytes that a worker takes at a time. */
    private static final int STRETCH = 4 * 1024 * 1024;

    private static final int LAST_UPLOADS_SECONDS = 5;
    private static final int LAST_WORK_SECONDS = 10;
    /** An index is written each time when so many packs are there. */
    private static final int INDEX_PACKS = 128;
    /** Or when they hold so many chunks: what is not indexed yet is on the heap. */
    private static final long INDEX_CHUNKS = 1 << 15;
    /** So often an archive begins, when packs vanish under it. */
    private static final int TRIES = 3;
    /** Files up to that size carry a digest of the whole. */
    private static final long DIGEST_UP_TO = 64L * 1024 * 1024;

    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final Indexes indexes;
    private final ChunkCodec codec;
    private final SparseMap sparse;
    private final Settings settings;
    private final Leases leases;
    private final Room large;

    public Archiver(
            ObjectStore store,
            Keys keys,
            Repository repository,
            Indexes indexes,
            ChunkCodec codec,
            SparseMap sparse,
            Settings settings) {
        this.store = store;
        this.keys = keys;
        this.repository = repository;
        this.indexes = indexes;
        this.codec = codec;
        this.sparse = sparse;
        this.settings = settings;
        this.leases = new Leases(store, keys, repository);
        this.large = new MappedRoom(settings.state());
    }

    /** What an archive gave. */
    public record Result(List<VmArchive> vms, ArchiveFigures figures) {}

    /** Errors that an image that cannot be read gives. */
    private static final Set<ErrorCode> OF_IMAGE = Set.of(ErrorCode.FILE_UNAVAILABLE, ErrorCode.IO_FAILED);

    /** Bytes that an archive brought, with all of its beginnings. */
    private static final class Moved {
        final AtomicLong fresh = new AtomicLong();
        final AtomicLong stored = new AtomicLong();
    }

    /** A file's place in the work. */
    private record Source(String vm, String name, Path path, long bytes, boolean digested, List<Extent> extents) {}

    /** A stretch of a file, whole chunks; the ids of its chunks are kept from that slot on. */
    private record Stretch(int source, long from, long to, long slot) {}

    /**
     * The ids of all chunks of an archive, each in the slot of its place: zeros for a chunk of zeros. Beyond a little it is in room, so that the heap
     * does not grow with the images. Each slot has one writer.
     */
    private static final class Ids implements AutoCloseable {
        /** Slots of a piece: 32 MiB. */
        private static final int PIECE = 1 << 20;

        private final Scratch room;
        private final ByteBuffer[] pieces;

        Ids(long slots, Path folder) throws StorageException {
            room = new Scratch(folder);
            pieces = new ByteBuffer[Math.toIntExact((slots + PIECE - 1) / PIECE)];
            boolean done = false;
            try {
                for (int i = 0; i < pieces.length; i++) {
                    pieces[i] = room.take((int) Math.min(PIECE, slots - (long) i * PIECE) * ChunkId.BYTES);
                }
                done = true;
            } finally {
                if (!done) {
                    room.close();
                }
            }
        }

        ByteBuffer piece(long slot) {
            return pieces[(int) (slot / PIECE)];
        }

        static int at(long slot) {
            return (int) (slot % PIECE) * ChunkId.BYTES;
        }

        void put(long slot, ChunkId id) {
            id.write(piece(slot), at(slot));
        }

        boolean has(long slot) {
            ByteBuffer p = piece(slot);
            int at = at(slot);
            return (p.getLong(at) | p.getLong(at + 8) | p.getLong(at + 16) | p.getLong(at + 24)) != 0;
        }

        @Override
        public void close() {
            room.close();
        }
    }

    /**
     * Archives the images of some VMs of a checkpoint.
     *
     * <p>Prerequisites: the images are complete and nobody changes them. On success: packs, index and VM manifests are in
     * the bucket. On failure: no manifest is there; packs that were uploaded are used by a repeat, and by the next archive of
     * this service.
     */
    public Result archive(String checkpoint, List<String> vms, Progress progress)
            throws StorageException, InterruptedException {
        long start = System.nanoTime();
        Names.require("checkpoint", checkpoint);
        for (String vm : vms) {
            Names.require("vm", vm);
        }
        int chunk = repository.open().chunkBytes();
        Vault vault = repository.vault();
        Moved moved = new Moved();
        SortedSet<ChunkId> vanished = null;
        for (int i = 0; i < TRIES; i++) {
            try (Lease lease = leases.begin(indexes);
                    Job job = new Job(
                            checkpoint, chunk, vault, lease, sources(checkpoint, vms, chunk), progress, moved)) {
                Result done = job.run(vms, start);
                if (done != null) {
                    return done;
                }
                vanished = job.vanished;
                LOG.warnf(
                        "event=packs-vanished checkpoint=%s count=%d first=%s",
                        checkpoint, vanished.size(), keys.pack(vanished.first()));
            } catch (StorageException e) {
                throw vanished != null && OF_IMAGE.contains(e.code()) ? vanished(vanished, e) : e;
            }
            progress.again();
        }
        throw vanished(vanished, null);
    }

    /** Packs vanished while an archive counted on them, and it cannot bring what they held: because of an image, or because more vanish. */
    private StorageException vanished(SortedSet<ChunkId> packs, StorageException image) {
        return new StorageException(
                ErrorCode.REPOSITORY_CORRUPT,
                "object " + keys.pack(packs.first()) + (packs.size() == 1 ? "" : " and " + (packs.size() - 1) + " more")
                        + ": vanished while the archive counted on it"
                        + (image == null
                                ? ", again and again"
                                : "; what it held cannot be read again: " + image.getMessage()),
                "see who deletes objects of the bucket besides Holdfast; take another checkpoint: it uploads what is missing",
                image);
    }

    private List<Source> sources(String checkpoint, List<String> vms, int chunk) throws StorageException {
        List<Source> sources = new ArrayList<>();
        for (String vm : vms) {
            sources.addAll(sources(checkpoint, vm, chunk));
        }
        return sources;
    }

    private List<Source> sources(String checkpoint, String vm, int chunk) throws StorageException {
        Path folder = settings.images().resolve(checkpoint).resolve(vm);
        if (!Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
            throw new StorageException(
                    ErrorCode.FILE_UNAVAILABLE,
                    "image folder " + folder + " is missing",
                    "the agent and the storage service of a host must share their image folder");
        }
        List<Source> list = new ArrayList<>();
        try (var dir = Files.list(folder)) {
            for (Path p : dir.sorted().toList()) {
                String name = p.getFileName().toString();
                if (name.equals(Names.ARCHIVED) || name.startsWith(".") || name.endsWith(".tmp")) {
                    continue;
                }
                if (!Names.validFile(name) || !Files.isRegularFile(p, LinkOption.NOFOLLOW_LINKS)) {
                    throw new StorageException(
                            ErrorCode.FILE_UNAVAILABLE,
                            "image folder " + folder + " has something that is no plain file of an image: " + name,
                            "remove it");
                }
                long bytes = Files.size(p);
                if (bytes > Limits.MAX_FILE || list.size() >= Limits.MAX_FILES) {
                    throw new StorageException(
                            ErrorCode.FILE_UNAVAILABLE,
                            "image file " + p + " is over the limits",
                            "at most " + Limits.MAX_FILES + " files of " + Limits.MAX_FILE + " bytes");
                }
                boolean small = bytes <= DIGEST_UP_TO && !name.equals("ram.img");
                // a small file is taken in one piece by one worker, which makes its digest on the way
                List<Extent> extents = !small
                        ? whole(sparse.extents(p), chunk, bytes)
                        : bytes == 0 ? List.of() : List.of(new Extent(0, bytes));
                list.add(new Source(vm, name, p, bytes, small, extents));
            }
        } catch (IOException e) {
            throw Indexes.io("reading", folder, e);
        }
        return list;
    }

    /** SHA-256 of a file. */
    static ChunkId digest(Path file) throws IOException {
        MessageDigest md = ChunkId.sha256();
        byte[] buffer = new byte[InPieces.PIECE];
        try (InputStream in = Files.newInputStream(file)) {
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                md.update(buffer, 0, n);
            }
        }
        return ChunkId.read(md.digest(), 0);
    }

    /** Extents grown to whole chunks and joined where they then touch. */
    static List<Extent> whole(List<Extent> extents, int chunk, long bytes) {
        List<Extent> list = new ArrayList<>();
        for (Extent e : extents) {
            long from = e.from() / chunk * chunk;
            long to = Math.min(bytes, (e.to() + chunk - 1) / chunk * chunk);
            Extent last = list.isEmpty() ? null : list.get(list.size() - 1);
            if (last != null && last.to() >= from) {
                list.set(list.size() - 1, new Extent(last.from(), Math.max(last.to(), to)));
            } else if (to > from) {
                list.add(new Extent(from, to));
            }
        }
        return list;
    }

    /** One archive's work. */
    private final class Job implements AutoCloseable {
        private final int chunk;
        private final Vault vault;
        private final Lease lease;
        private final List<Source> sources;
        private final List<Stretch> stretches = new ArrayList<>();
        private final Ids ids;
        /** First stretch of each source, and the end. */
        private final int[] firstOf;

        private final ChunkId[] digests;
        private final FileChannel[] channels;
        private final Progress progress;
        private final Path notes;
        private final AtomicInteger next = new AtomicInteger();
        private final AtomicLong dataBytes = new AtomicLong();
        private final Moved moved;
        /** Packs that it counted on and that vanished. */
        private SortedSet<ChunkId> vanished;

        private final Set<ChunkId> taken = ConcurrentHashMap.newKeySet();
        private final Map<ChunkId, Table> packs = new ConcurrentHashMap<>();
        private final AtomicLong unindexed = new AtomicLong();
        private final AtomicReference<Throwable> failure = new AtomicReference<>();
        private final BlockingQueue<PackFormat.Builder> builders;
        private final ExecutorService uploads;
        private final ExecutorService workers;
        private final String checkpoint;

        Job(
                String checkpoint,
                int chunk,
                Vault vault,
                Lease lease,
                List<Source> sources,
                Progress progress,
                Moved moved)
                throws StorageException {
            this.moved = moved;
            this.checkpoint = checkpoint;
            this.vault = vault;
            this.lease = lease;
            this.chunk = chunk;
            this.sources = sources;
            this.progress = progress;
            this.notes = settings.state().resolve("uploads").resolve(checkpoint);
            int stretch = Math.max(STRETCH, chunk);
            long total = 0;
            long slots = 0;
            firstOf = new int[sources.size() + 1];
            for (int s = 0; s < sources.size(); s++) {
                firstOf[s] = stretches.size();
                for (Extent e : sources.get(s).extents()) {
                    for (long at = e.from(); at < e.to(); ) {
                        // a file with a digest in one piece
                        long to = sources.get(s).digested() ? e.to() : Math.min(e.to(), at + stretch);
                        stretches.add(new Stretch(s, at, to, slots));
                        slots += (to - at + chunk - 1) / chunk;
                        at = to;
                    }
                    total += e.to() - e.from();
                }
            }
            firstOf[sources.size()] = stretches.size();
            progress.total(total);
            this.ids = new Ids(slots, settings.state());
            this.digests = new ChunkId[sources.size()];
            this.channels = new FileChannel[sources.size()];
            boolean ready = false;
            try {
                Files.createDirectories(notes);
                for (int s = 0; s < channels.length; s++) {
                    channels[s] =
                            FileChannel.open(sources.get(s).path(), StandardOpenOption.READ, LinkOption.NOFOLLOW_LINKS);
                }
                int count = settings.workers() + settings.transfers();
                builders = new ArrayBlockingQueue<>(count);
                for (int i = 0; i < count; i++) {
                    builders.add(new PackFormat.Builder(settings.packBytes(), chunk, vault));
                }
                uploads = Executors.newFixedThreadPool(settings.transfers(), named("upload"));
                workers = Executors.newFixedThreadPool(settings.workers(), named("chunk"));
                ready = true;
            } catch (IOException e) {
                throw Indexes.io("opening images of", settings.images().resolve(checkpoint), e);
            } finally {
                if (!ready) {
                    closeFiles();
                    ids.close();
                }
            }
        }

        private java.util.concurrent.ThreadFactory named(String what) {
            AtomicInteger n = new AtomicInteger();
            return r -> {
                Thread t = new Thread(r, "archive-" + what + "-" + n.incrementAndGet());
                t.setDaemon(true);
                return t;
            };
        }

        /** The result; null if packs have vanished. */
        Result run(List<String> vms, long start) throws StorageException, InterruptedException {
            try {
                return run0(vms, start);
            } catch (IOException e) {
                throw Indexes.io("writing", notes, e);
            }
        }

        private Result run0(List<String> vms, long start) throws StorageException, InterruptedException, IOException {
            resume();
            List<Future<?>> running = new ArrayList<>();
            for (int i = 0; i < settings.workers(); i++) {
                running.add(workers.submit(this::work));
            }
            await(running);
            uploads.shutdown();
            while (!uploads.awaitTermination(1, TimeUnit.SECONDS)) {
                check();
            }
            check();
            publish(1);
            SortedSet<ChunkId> gone = lease.vanished();
            if (!gone.isEmpty()) {
                vanished = gone;
                return null;
            }
            repository.confirm();
            List<VmArchive> archives = new ArrayList<>();
            long logical = 0;
            for (String vm : vms) {
                VmManifest m = manifest(vm);
                logical += m.logicalBytes();
                String key = keys.vm(checkpoint, vm);
                var put = repository.put(key, m);
                moved.stored.addAndGet(put.bytes());
                archives.add(new VmArchive(vm, key, put.sha256().hex()));
            }
            lease.check();
            try {
                Folders.delete(notes);
            } catch (IOException e) {
                LOG.warnf(e, "event=notes-not-removed folder=%s", notes);
            }
            return new Result(
                    archives,
                    new ArchiveFigures(
                            settings.host(),
                            logical,
                            dataBytes.get(),
                            moved.fresh.get(),
                            moved.stored.get(),
                            (System.nanoTime() - start) / 1_000_000));
        }

        /** Notes of other archives, which have ended without their end: they become this one's. */
        private void adopt() throws IOException {
            List<Path> others;
            try (var dir = Files.list(notes.getParent())) {
                others = dir.filter(p -> !p.equals(notes) && Files.isDirectory(p, LinkOption.NOFOLLOW_LINKS))
                        .sorted()
                        .toList();
            }
            for (Path other : others) {
                int count = 0;
                try (var dir = Files.list(other)) {
                    for (Path p : dir.toList()) {
                        Files.move(p, notes.resolve(p.getFileName()), StandardCopyOption.REPLACE_EXISTING);
                        count++;
                    }
                }
                Folders.delete(other);
                LOG.infof("event=notes-adopted checkpoint=%s of=%s packs=%d", checkpoint, other.getFileName(), count);
            }
        }

        /** Packs that earlier tries uploaded and that no index names yet. */
        private void resume() throws StorageException {
            try {
                adopt();
            } catch (IOException e) {
                throw Indexes.io("moving notes to", notes, e);
            }
            int found = 0;
            try (var dir = Files.list(notes)) {
                for (Path p : dir.sorted().toList()) {
                    Table t;
                    try {
                        List<Table> one = IndexFormat.decode(p.toString(), Files.readAllBytes(p), vault.sealed());
                        if (one.size() != 1) {
                            throw StorageException.corrupt(p.toString(), "is no note of an upload");
                        }
                        t = one.get(0);
                    } catch (StorageException e) {
                        LOG.warnf("event=note-ignored file=%s reason=\"%s\"", p, e.getMessage());
                        Files.delete(p);
                        continue;
                    }
                    OptionalLong size = store.size(keys.pack(t.id()));
                    if (lease.hasPack(t.id()) && size.isPresent() && size.getAsLong() == t.objectBytes()) {
                        found++;
                        packs.put(t.id(), t);
                        t.entries().forEach(e -> taken.add(e.id()));
                        publish(unindexed.addAndGet(t.entries().size()) >= INDEX_CHUNKS ? 1 : INDEX_PACKS);
                    } else {
                        Files.delete(p);
                    }
                }
            } catch (IOException e) {
                throw Indexes.io("reading", notes, e);
            }
            if (found > 0) {
                LOG.infof("event=archive-resumed checkpoint=%s packs=%d", checkpoint, found);
            }
        }

        private void await(List<Future<?>> running) throws StorageException, InterruptedException {
            for (Future<?> f : running) {
                try {
                    f.get();
                } catch (ExecutionException e) {
                    failure.compareAndSet(null, e.getCause());
                }
            }
            check();
        }

        private void check() throws StorageException {
            Throwable t = failure.get();
            switch (t) {
                case null -> {}
                case StorageException e -> throw e;
                case IOException e -> throw Indexes.io("reading image of", Path.of(checkpoint), e);
                default ->
                    throw new StorageException(
                            ErrorCode.INTERNAL, "archive failed: " + t, "report this with the service's log", t);
            }
        }

        private Void work() throws Exception {
            try {
                new Worker().work();
                return null;
            } catch (Exception e) {
                failure.compareAndSet(null, e);
                throw e;
            }
        }

        /** One thread's: takes stretches until none is left. */
        private final class Worker {
            private final byte[] buffer = new byte[Math.max(STRETCH, chunk)];
            private final ChunkId[] two = new ChunkId[2];
            private PackFormat.Builder pack;

            void work() throws StorageException, InterruptedException {
                for (int i = next.getAndIncrement(); i < stretches.size(); i = next.getAndIncrement()) {
                    if (failure.get() != null) {
                        return;
                    }
                    stretch(stretches.get(i));
                }
                if (pack != null) {
                    submit(pack);
                }
            }

            private void stretch(Stretch s) throws StorageException, InterruptedException {
                Source source = sources.get(s.source());
                MessageDigest whole = source.digested() ? ChunkId.sha256() : null;
                for (long from = s.from(); from < s.to(); from += buffer.length) {
                    int length = (int) Math.min(buffer.length, s.to() - from);
                    read(channels[s.source()], source.path(), from, buffer, length);
                    if (whole != null) {
                        whole.update(buffer, 0, length);
                    }
                    chunks(s.slot() + (from - s.from()) / chunk, length);
                    progress.add(length);
                }
                if (whole != null) {
                    digests[s.source()] = ChunkId.read(whole.digest(), 0);
                }
            }

            /** Two chunks at a time: their ids take little longer than one. */
            private void chunks(long slot, int length) throws StorageException, InterruptedException {
                for (int a = data(0, length); a < length; ) {
                    int b = data(a + chunk, length);
                    if (b + chunk <= length) {
                        vault.chunkIds(buffer, a, buffer, b, chunk, two);
                        one(two[0], slot, a, chunk);
                        one(two[1], slot, b, chunk);
                        a = data(b + chunk, length);
                    } else {
                        int size = Math.min(chunk, length - a);
                        one(vault.chunkId(buffer, a, size), slot, a, size);
                        a = b;
                    }
                }
            }

            /** Where the next chunk is that is not all zeros. */
            private int data(int from, int length) {
                int at = from;
                while (at < length && Zeros.all(buffer, at, Math.min(chunk, length - at))) {
                    at += chunk;
                }
                return at;
            }

            private void one(ChunkId id, long slot, int at, int size) throws StorageException, InterruptedException {
                ids.put(slot + at / chunk, id);
                dataBytes.addAndGet(size);
                if (has(id)) {
                    return;
                }
                if (pack == null) {
                    pack = builder();
                }
                pack.add(id, buffer, at, size, codec);
                moved.fresh.addAndGet(size);
                if (pack.isFull()) {
                    PackFormat.Builder full = pack;
                    pack = null;
                    submit(full);
                }
            }
        }

        /** Whether the repository has a chunk, or this archive brings it already; if not, the caller must. */
        private boolean has(ChunkId id) {
            if (lease.has(id) || !taken.add(id)) {
                return true;
            }
            if (lease.has(id)) { // an index was written between the two looks
                taken.remove(id);
                return true;
            }
            return false;
        }

        private PackFormat.Builder builder() throws InterruptedException, StorageException {
            for (; ; ) {
                PackFormat.Builder b = builders.poll(200, TimeUnit.MILLISECONDS);
                if (b != null) {
                    return b;
                }
                if (failure.get() != null) {
                    throw new StorageException(ErrorCode.ABORTED, "another part of the archive failed", "");
                }
            }
        }

        private void submit(PackFormat.Builder pack) {
            Future<?> unused = uploads.submit(() -> upload(pack));
        }

        private void upload(PackFormat.Builder pack) {
            try {
                if (failure.get() != null) {
                    return;
                }
                Table table = pack.seal();
                store.put(keys.pack(table.id()), pack.bytes(), 0, pack.length(), table.id());
                Files.write(notes.resolve(table.id().hex()), IndexFormat.encode(List.of(table)));
                moved.stored.addAndGet(pack.length());
                packs.put(table.id(), table);
                publish(unindexed.addAndGet(table.entries().size()) >= INDEX_CHUNKS ? 1 : INDEX_PACKS);
            } catch (StorageException
                    | IOException
                    | RuntimeException
                    | Error e) { // an archive is whole or it has failed, whatever it was
                failure.compareAndSet(null, e);
            } finally {
                pack.clear();
                builders.add(pack);
            }
        }

        /** Writes an index of the packs that have none yet, if they are so many: what it names needs no memory here any more. */
        private synchronized void publish(int atLeast) throws StorageException, IOException {
            if (packs.size() < atLeast) {
                return;
            }
            List<Table> tables = new ArrayList<>(packs.values());
            tables.sort((x, y) -> x.id().compareTo(y.id()));
            moved.stored.addAndGet(indexes.publish(tables));
            for (Table t : tables) {
                lease.brought(t.id());
                packs.remove(t.id());
                unindexed.addAndGet(-t.entries().size());
                for (PackFormat.Entry e : t.entries()) {
                    if (lease.finds(e.id())) { // else the index knows another place, which does not count here
                        taken.remove(e.id());
                    }
                }
                Files.deleteIfExists(notes.resolve(t.id().hex()));
            }
        }

        private VmManifest manifest(String vm) throws StorageException {
            List<VmManifest.File> files = new ArrayList<>();
            for (int s = 0; s < sources.size(); s++) {
                Source source = sources.get(s);
                if (source.vm().equals(vm)) {
                    files.add(new VmManifest.File(source.name(), source.bytes(), digest(s), runs(s)));
                }
            }
            return new VmManifest(checkpoint, vm, chunk, files);
        }

        private ChunkId digest(int source) {
            if (!sources.get(source).digested()) {
                return null;
            }
            return digests[source] == null ? ChunkId.of(new byte[0]) : digests[source];
        }

        private VmManifest.Runs runs(int source) throws StorageException {
            return VmManifest.runs(
                    each -> {
                        for (Stretch s : stretches.subList(firstOf[source], firstOf[source + 1])) {
                            long chunks = (s.to() - s.from() + chunk - 1) / chunk;
                            for (long i = 0; i < chunks; i++) {
                                if (ids.has(s.slot() + i)) {
                                    each.chunk(s.from() / chunk + i, ids.piece(s.slot() + i), Ids.at(s.slot() + i));
                                }
                            }
                        }
                    },
                    large);
        }

        private void closeFiles() {
            for (FileChannel c : channels) {
                if (c != null) {
                    try {
                        c.close();
                    } catch (IOException e) {
                        LOG.debugf(e, "event=close-failed");
                    }
                }
            }
        }

        @Override
        public void close() {
            failure.compareAndSet(null, new StorageException(ErrorCode.ABORTED, "the archive has ended", ""));
            workers.shutdownNow();
            uploads.shutdown();
            try {
                // what is under way may end, so that a repeat needs not do it again
                if (!uploads.awaitTermination(LAST_UPLOADS_SECONDS, TimeUnit.SECONDS)) {
                    LOG.debug("event=uploads-cut-off");
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            uploads.shutdownNow();
            closeFiles();
            try {
                // no worker may write to what is freed
                if (workers.awaitTermination(LAST_WORK_SECONDS, TimeUnit.SECONDS)) {
                    ids.close();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt(); // then it is the garbage collector's
            }
        }
    }

    private static void read(FileChannel channel, Path file, long offset, byte[] into, int length)
            throws StorageException {
        try {
            if (!InPieces.read(channel, offset, ByteBuffer.wrap(into, 0, length))) {
                throw new StorageException(
                        ErrorCode.IO_FAILED,
                        "image file " + file + " became shorter while it was archived",
                        "nobody may change an image that is archived");
            }
        } catch (IOException e) {
            throw Indexes.io("reading", file, e);
        }
    }
}
