package io.holdfast.storage.app;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.ChunkCodec;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex.Place;
import io.holdfast.storage.domain.FetchPlan;
import io.holdfast.storage.domain.FetchPlan.Fetch;
import io.holdfast.storage.domain.FetchPlan.Target;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.VmManifest;
import io.holdfast.storage.domain.VmManifest.Run;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jboss.logging.Logger;

/**
 * Brings images from the repository to the image folder. Every byte that is written has the digest that the chain from the
 * checkpoint's manifest names. An image appears whole, by a rename, or not at all. One pull at a time.
 *
 * <p>A pack is read, checked and written chunk by chunk while it comes, so that what is hashed is still in the processor's cache and
 * a read may be as long as a pack: few requests, which a slow way to the bucket does not make many waits.
 *
 * <p>Memory: four chunks per reader, what one write takes, and a plan for 32768 chunks. The VM's manifest is in a mapped file if it is large.
 */
public final class Puller {
    private static final Logger LOG = Logger.getLogger(Puller.class);
    private static final int GAP = 128 * 1024;
    /** A whole pack, as a rule. */
    private static final int READ = 32 * 1024 * 1024;

    /** What is written with one call at most, of chunks that are no larger. */
    private static final int STRETCH = 256 * 1024;

    private static final long SYNC_EVERY = 64L * 1024 * 1024;
    /** Chunks that are planned at a time. */
    private static final int WINDOW = 32 * 1024;

    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final Indexes indexes;
    private final ChunkCodec codec;
    private final Settings settings;
    private final Queue<ByteBuffer> spare = new ConcurrentLinkedQueue<>();

    public Puller(
            ObjectStore store, Keys keys, Repository repository, Indexes indexes, ChunkCodec codec, Settings settings) {
        this.store = store;
        this.keys = keys;
        this.repository = repository;
        this.indexes = indexes;
        this.codec = codec;
        this.settings = settings;
    }

    /**
     * Brings the images of some VMs. One that is here already stays as it is.
     *
     * @return bytes written
     */
    public long pull(String checkpoint, String manifestKey, List<String> vms, Progress progress)
            throws StorageException, InterruptedException {
        Names.require("checkpoint", checkpoint);
        for (String vm : vms) {
            Names.require("vm", vm);
        }
        if (manifestKey != null && !manifestKey.isBlank() && !manifestKey.equals(keys.checkpoint(checkpoint))) {
            throw new StorageException(
                    ErrorCode.REPOSITORY_UNAVAILABLE,
                    "object " + manifestKey + " is not in the repository of this host, which has "
                            + keys.checkpoint(checkpoint),
                    "give all storage services the same bucket and prefix");
        }
        repository.open();
        List<VmManifest> wanted = new ArrayList<>();
        // the indexes meanwhile: where the bucket is far, every request that waits for another is felt
        try (ExecutorService beside = Executors.newSingleThreadExecutor()) {
            Future<Void> refreshed = beside.submit(() -> {
                indexes.refresh();
                return null;
            });
            CheckpointManifest manifest = repository.checkpoint(checkpoint);
            for (String vm : vms) {
                VmManifest m = repository.vm(manifest, vm);
                if (complete(m)) {
                    LOG.infof("event=image-present checkpoint=%s vm=%s", checkpoint, vm);
                } else {
                    wanted.add(m);
                }
            }
            if (wanted.isEmpty()) {
                return 0;
            }
            Indexes.get(refreshed);
        }
        progress.total(wanted.stream().mapToLong(VmManifest::dataBytes).sum());
        Path folder = settings.images().resolve(checkpoint);
        try {
            Files.createDirectories(folder);
            long free = Files.getFileStore(folder).getUsableSpace();
            if (free < progress.total()) {
                throw new StorageException(
                        ErrorCode.NO_SPACE,
                        "image folder " + folder + " has " + free + " bytes free, " + progress.total() + " are needed",
                        "free space or choose another host");
            }
        } catch (IOException e) {
            throw Indexes.io("making", folder, e);
        }
        for (VmManifest m : wanted) {
            one(m, folder, progress);
        }
        return progress.total();
    }

    /** Whether a complete image is here already: every file is there in its size, and small ones have their digest. */
    boolean complete(VmManifest m) throws StorageException {
        Path folder = settings.images().resolve(m.checkpoint()).resolve(m.vm());
        try {
            if (!Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
                return false;
            }
            for (VmManifest.File f : m.files()) {
                Path p = folder.resolve(f.name());
                if (!Files.isRegularFile(p, LinkOption.NOFOLLOW_LINKS) || Files.size(p) != f.bytes()) {
                    return false;
                }
                if (f.sha256() != null && !f.sha256().equals(Archiver.digest(p))) {
                    return false;
                }
            }
            return true;
        } catch (IOException e) {
            throw Indexes.io("reading", folder, e);
        }
    }

    private void one(VmManifest m, Path parent, Progress progress) throws StorageException, InterruptedException {
        Path target = parent.resolve(m.vm());
        Path tmp = parent.resolve(m.vm() + ".tmp-pull");
        try {
            Folders.delete(tmp);
            Files.createDirectory(tmp);
        } catch (IOException e) {
            throw Indexes.io("making", tmp, e);
        }
        boolean done = false;
        try {
            fill(m, tmp, progress);
            Path old = parent.resolve(m.vm() + ".tmp-old");
            Folders.delete(old);
            if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
                LOG.warnf("event=broken-image-replaced checkpoint=%s vm=%s", m.checkpoint(), m.vm());
                Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
            }
            Files.move(tmp, target, StandardCopyOption.ATOMIC_MOVE);
            Folders.sync(parent);
            Folders.delete(old);
            done = true;
        } catch (IOException e) {
            throw Indexes.io("writing", tmp, e);
        } finally {
            if (!done) {
                try {
                    Folders.delete(tmp);
                } catch (IOException e) {
                    LOG.warnf(e, "event=not-removed folder=%s", tmp);
                }
            }
        }
    }

    /** Walks over a manifest's chunks and gives so many at a time: a plan for a piece of any image, in bounded memory. */
    private final class Targets {
        private final VmManifest m;
        private boolean refreshed;
        private int file = -1;
        private Iterator<Run> runs = Collections.emptyIterator();
        private Run run;
        private int chunk;

        Targets(VmManifest m) {
            this.m = m;
        }

        List<Target> next(int most) throws StorageException {
            List<Target> targets = new ArrayList<>();
            while (targets.size() < most) {
                if (run != null && chunk < run.count()) {
                    targets.add(target(m.files().get(file), run));
                    chunk++;
                } else if (runs.hasNext()) {
                    run = runs.next();
                    chunk = 0;
                } else if (file + 1 < m.files().size()) {
                    runs = m.files().get(++file).runs().iterator();
                    run = null;
                } else {
                    break;
                }
            }
            return targets;
        }

        private Target target(VmManifest.File f, Run r) throws StorageException {
            ChunkId id = r.id(chunk);
            Place place = indexes.find(id);
            if (place == null && !refreshed) {
                indexes.refresh();
                refreshed = true;
                place = indexes.find(id);
            }
            String vmKey = keys.vm(m.checkpoint(), m.vm());
            if (place == null) {
                throw StorageException.corrupt(
                        vmKey, "needs chunk " + id + " for " + f.name() + ", which no index names");
            }
            long offset = (r.first() + chunk) * m.chunkBytes();
            int length = (int) Math.min(m.chunkBytes(), f.bytes() - offset);
            if (place.plainBytes() != length) {
                throw StorageException.corrupt(
                        vmKey,
                        "chunk " + id + " of " + f.name() + " has " + place.plainBytes() + " bytes, should have "
                                + length);
            }
            return new Target(id, place, file, offset, length);
        }
    }

    private void fill(VmManifest m, Path folder, Progress progress)
            throws StorageException, IOException, InterruptedException {
        List<FileChannel> files = new ArrayList<>();
        try {
            for (VmManifest.File f : m.files()) {
                Path p = folder.resolve(f.name());
                try (RandomAccessFile raf = new RandomAccessFile(p.toFile(), "rw")) {
                    raf.setLength(f.bytes());
                }
                files.add(FileChannel.open(p, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS));
            }
            fetchAll(m, folder, files, progress);
            for (FileChannel c : files) {
                c.force(true);
            }
        } finally {
            for (FileChannel c : files) {
                c.close();
            }
        }
        Folders.writeDurably(
                folder.resolve(Names.ARCHIVED),
                (keys.checkpoint(m.checkpoint()) + "\n").getBytes(StandardCharsets.UTF_8));
    }

    /** What the threads of a pull share: the plan, and a thread's buffers. */
    private final class Job {
        private final int chunkBytes;
        private final Vault vault;
        private final Targets targets;
        private final Path folder;
        private final List<FileChannel> files;
        private final Progress progress;
        private final Deque<Fetch> plan = new ArrayDeque<>();
        private final AtomicLong unsynced = new AtomicLong();
        private final AtomicBoolean syncing = new AtomicBoolean();
        private final Object looking = new Object();
        private boolean looked;
        private volatile boolean stop;

        Job(VmManifest m, Path folder, List<FileChannel> files, Progress progress) throws StorageException {
            this.folder = folder;
            this.chunkBytes = m.chunkBytes();
            this.vault = repository.vault();
            this.targets = new Targets(m);
            this.files = files;
            this.progress = progress;
        }

        private synchronized Fetch next() throws StorageException {
            if (plan.isEmpty() && !stop) {
                plan.addAll(FetchPlan.of(targets.next(WINDOW), GAP, READ));
            }
            return stop ? null : plan.poll();
        }

        Void work() throws StorageException {
            ByteBuffer direct = direct(chunkBytes);
            try {
                Buffers b = new Buffers(chunkBytes, direct);
                for (Fetch f = next(); f != null; f = next()) {
                    fetch(f, b, true);
                }
                return null;
            } catch (StorageException | RuntimeException e) {
                stop = true;
                throw e;
            } finally {
                spare.add(direct);
            }
        }

        private void fetch(Fetch f, Buffers b, boolean first) throws StorageException {
            Stream s = new Stream(f, b);
            try {
                store.read(keys.pack(f.pack()), s);
                write(b.stretch);
            } catch (StorageException e) {
                if (!first || e.code() != ErrorCode.REPOSITORY_CORRUPT) {
                    throw e;
                }
                write(b.stretch);
                // a pack that is gone may have been collected after its chunks were moved, and one that is not whole
                // may
                // not be the only one that has them; a broken answer may have been broken on its way
                LOG.warnf("event=read-again pack=%s reason=\"%s\"", f.pack(), e.getMessage());
                List<Target> left = f.targets().subList(s.done, f.targets().size());
                look(false);
                List<Target> again = anew(left);
                if (again.stream().anyMatch(t -> t.place().pack().equals(f.pack()))) {
                    look(true); // it may have gone after the look
                    again = anew(left);
                }
                for (Fetch g : FetchPlan.of(again, GAP, READ)) {
                    fetch(g, b, false);
                }
            }
        }

        /** Where the chunks of these are by now. */
        private List<Target> anew(List<Target> targets) throws StorageException {
            List<Target> found = new ArrayList<>();
            for (Target t : targets) {
                Place p = indexes.find(t.id());
                found.add(p == null ? t : new Target(t.id(), p, t.file(), t.offset(), t.length()));
            }
            return found;
        }

        /** Has the indexes look which packs there are: once, unless asked for, and after that only what is new in them. */
        private void look(boolean again) throws StorageException {
            synchronized (looking) {
                if (looked && !again) {
                    indexes.refresh();
                } else {
                    indexes.look();
                    looked = true;
                }
            }
        }

        /** A read of a pack: each chunk is checked and written as it comes. */
        private final class Stream implements ObjectStore.Part {
            private final Fetch fetch;
            private final String key;
            private final Buffers b;
            /** Targets that are written. */
            private int done;

            Stream(Fetch fetch, Buffers b) {
                this.fetch = fetch;
                this.key = keys.pack(fetch.pack());
                this.b = b;
            }

            @Override
            public long from() {
                return done == fetch.targets().size()
                        ? to()
                        : fetch.targets().get(done).place().offset();
            }

            @Override
            public long to() {
                return (long) fetch.offset() + fetch.length();
            }

            @Override
            public void take(InputStream in) throws IOException, StorageException {
                long at = from();
                while (done < fetch.targets().size()) {
                    // two chunks at a time: their digests take little longer than one
                    int second = after(done);
                    int next = after(second);
                    Entry a = open(in, at, done, b.plain[0]);
                    at = end(done);
                    if (next == second) {
                        PackFormat.check(key, vault, a, b.plain[0]);
                    } else {
                        Entry c = open(in, at, second, b.plain[1]);
                        at = end(second);
                        PackFormat.check(key, vault, a, b.plain[0], c, b.plain[1]);
                    }
                    add(second, b.plain[0]);
                    add(next, b.plain[1]);
                }
            }

            /** The first target that has another chunk than that one: the same may go to several places. */
            private int after(int target) {
                List<Target> targets = fetch.targets();
                int next = target;
                while (next < targets.size()
                        && targets.get(next).id().equals(targets.get(target).id())) {
                    next++;
                }
                return next;
            }

            private long end(int target) {
                Place p = fetch.targets().get(target).place();
                return (long) p.offset() + p.storedBytes();
            }

            /** Reads a target's chunk, not checked yet, from a stream that has come to that place of the pack. */
            private Entry open(InputStream in, long at, int target, byte[] plain) throws IOException, StorageException {
                Target t = fetch.targets().get(target);
                Place p = t.place();
                if (p.plainBytes() != t.length() || p.storedBytes() > b.stored.length) {
                    throw StorageException.corrupt(key, "chunk " + t.id() + " has not the length that it must have");
                }
                in.skipNBytes(p.offset() - at);
                Entry e = new Entry(t.id(), p.plainBytes(), p.storedBytes(), p.encoding());
                // one that is stored as it is comes at once to where it is needed
                boolean asItIs = p.encoding() == PackFormat.RAW && !vault.sealed() && p.storedBytes() == t.length();
                byte[] into = asItIs ? plain : b.stored;
                if (in.readNBytes(into, 0, p.storedBytes()) < p.storedBytes()) {
                    throw new EOFException("the connection ended early");
                }
                if (!asItIs) {
                    PackFormat.open(key, vault, codec, e, into, 0, b.scratch, plain);
                }
                return e;
            }

            private void add(int upTo, byte[] plain) throws StorageException {
                for (; done < upTo; done++) {
                    Target t = fetch.targets().get(done);
                    if (!b.stretch.takes(t)) {
                        write(b.stretch);
                    }
                    b.stretch.add(t, plain);
                }
            }
        }

        private void write(Stretch s) throws StorageException {
            try {
                int length = s.data.flip().remaining();
                for (long at = s.from; s.data.hasRemaining(); ) {
                    at += files.get(s.file).write(s.data, at);
                }
                s.data.clear();
                progress.add(length);
                sync(s.file, length);
            } catch (IOException e) {
                throw Indexes.io("writing", folder, e);
            }
        }

        /** Has the disk write while the bucket is read, so that little is left to wait for at the end. */
        private void sync(int file, long written) throws IOException {
            if (unsynced.addAndGet(written) >= SYNC_EVERY && syncing.compareAndSet(false, true)) {
                try {
                    unsynced.set(0);
                    files.get(file).force(false);
                } finally {
                    syncing.set(false);
                }
            }
        }
    }

    /** Checked chunks that follow each other in a file: one write costs the file system less than one for each. */
    private static final class Stretch {
        final ByteBuffer data;
        int file;
        long from;

        Stretch(ByteBuffer data) {
            this.data = data;
        }

        boolean takes(Target t) {
            return data.position() == 0
                    || (t.file() == file && t.offset() == from + data.position() && t.length() <= data.remaining());
        }

        void add(Target t, byte[] plain) {
            if (data.position() == 0) {
                file = t.file();
                from = t.offset();
            }
            data.put(plain, 0, t.length());
        }
    }

    /** A thread's own. */
    private static final class Buffers {
        final byte[] stored;
        final byte[] scratch;
        final byte[][] plain;
        final Stretch stretch;

        Buffers(int chunkBytes, ByteBuffer direct) {
            stored = new byte[chunkBytes + Vault.OVERHEAD];
            scratch = new byte[chunkBytes + Vault.OVERHEAD];
            plain = new byte[2][chunkBytes];
            stretch = new Stretch(direct.clear());
        }
    }

    /** Memory outside the heap, which goes from pull to pull: the JDK gives such back only when it happens to collect. */
    private ByteBuffer direct(int chunkBytes) {
        ByteBuffer have = spare.poll();
        return have != null && have.capacity() >= chunkBytes
                ? have
                : ByteBuffer.allocateDirect(Math.max(STRETCH, chunkBytes));
    }

    private void fetchAll(VmManifest m, Path folder, List<FileChannel> files, Progress progress)
            throws StorageException, IOException, InterruptedException {
        Job job = new Job(m, folder, files, progress);
        AtomicInteger number = new AtomicInteger();
        // more than uploads: a thread whose chunk is being hashed or written does not transfer
        int readers = 2 * settings.transfers();
        ExecutorService threads = Executors.newFixedThreadPool(readers, r -> {
            Thread t = new Thread(r, "pull-" + number.incrementAndGet());
            t.setDaemon(true);
            return t;
        });
        try {
            List<Future<?>> running = new ArrayList<>();
            for (int i = 0; i < readers; i++) {
                running.add(threads.submit(job::work));
            }
            Throwable first = null;
            for (Future<?> f : running) {
                try {
                    f.get();
                } catch (ExecutionException e) {
                    first = first == null ? e.getCause() : first;
                }
            }
            switch (first) {
                case null -> {}
                case StorageException e -> throw e;
                case IOException e -> throw e;
                default -> throw new IllegalStateException(first);
            }
        } finally {
            job.stop = true;
            threads.shutdownNow();
        }
    }

    /** Removes what pulls that were cut off have left. Call at start, before any pull. */
    public void clean() {
        Set<Path> left = new HashSet<>();
        try (var checkpoints = Files.list(settings.images())) {
            for (Path c : checkpoints
                    .filter(p -> Files.isDirectory(p, LinkOption.NOFOLLOW_LINKS))
                    .toList()) {
                try (var vms = Files.list(c)) {
                    vms.filter(p -> p.getFileName().toString().matches(".*\\.tmp-(pull|old)"))
                            .forEach(left::add);
                }
            }
            for (Path p : left) {
                Folders.delete(p);
            }
        } catch (IOException e) {
            LOG.warnf(e, "event=clean-failed folder=%s", settings.images());
        }
    }
}
