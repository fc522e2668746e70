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
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jboss.logging.Logger;

/**
 * Brings images from the repository to the image folder. Every byte that is written has the digest that the chain from the
 * checkpoint's manifest names. An image appears whole, by a rename, or not at all. One pull at a time.
 *
 * <p>Memory: a read's buffer per transfer thread, and some 60 bytes per chunk.
 */
public final class Puller {
    private static final Logger LOG = Logger.getLogger(Puller.class);
    private static final int GAP = 128 * 1024;
    private static final int READ = 4 * 1024 * 1024;

    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final Indexes indexes;
    private final ChunkCodec codec;
    private final Settings settings;

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
        CheckpointManifest manifest = repository.checkpoint(checkpoint);
        List<VmManifest> wanted = new ArrayList<>();
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
        indexes.refresh();
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

    private List<Target> targets(VmManifest m) throws StorageException {
        List<Target> targets = new ArrayList<>();
        boolean refreshed = false;
        for (int f = 0; f < m.files().size(); f++) {
            VmManifest.File file = m.files().get(f);
            for (Run r : file.runs()) {
                for (int i = 0; i < r.count(); i++) {
                    ChunkId id = r.id(i);
                    Place place = indexes.find(id);
                    if (place == null && !refreshed) {
                        indexes.refresh();
                        refreshed = true;
                        place = indexes.find(id);
                    }
                    String vmKey = keys.vm(m.checkpoint(), m.vm());
                    if (place == null) {
                        throw StorageException.corrupt(
                                vmKey, "needs chunk " + id + " for " + file.name() + ", which no index names");
                    }
                    long offset = (r.first() + i) * m.chunkBytes();
                    int length = (int) Math.min(m.chunkBytes(), file.bytes() - offset);
                    if (place.plainBytes() != length) {
                        throw StorageException.corrupt(
                                vmKey,
                                "chunk " + id + " of " + file.name() + " has " + place.plainBytes()
                                        + " bytes, should have " + length);
                    }
                    targets.add(new Target(id, place, f, offset, length));
                }
            }
        }
        return targets;
    }

    private void fill(VmManifest m, Path folder, Progress progress)
            throws StorageException, IOException, InterruptedException {
        List<Fetch> plan = FetchPlan.of(targets(m), GAP, READ);
        List<FileChannel> files = new ArrayList<>();
        try {
            for (VmManifest.File f : m.files()) {
                Path p = folder.resolve(f.name());
                try (RandomAccessFile raf = new RandomAccessFile(p.toFile(), "rw")) {
                    raf.setLength(f.bytes());
                }
                files.add(FileChannel.open(p, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS));
            }
            fetchAll(m, plan, files, progress);
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

    private void fetchAll(VmManifest m, List<Fetch> plan, List<FileChannel> files, Progress progress)
            throws StorageException, IOException, InterruptedException {
        Vault vault = repository.vault();
        AtomicInteger next = new AtomicInteger();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger number = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(settings.transfers(), r -> {
            Thread t = new Thread(r, "pull-" + number.incrementAndGet());
            t.setDaemon(true);
            return t;
        });
        try {
            List<Future<?>> running = new ArrayList<>();
            for (int i = 0; i < settings.transfers(); i++) {
                running.add(threads.submit(() -> {
                    byte[] packed = new byte[Math.max(READ, m.chunkBytes() + Vault.OVERHEAD)];
                    byte[] scratch = new byte[m.chunkBytes() + Vault.OVERHEAD];
                    byte[] plain = new byte[m.chunkBytes()];
                    try {
                        for (int k = next.getAndIncrement();
                                k < plan.size() && !stop.get();
                                k = next.getAndIncrement()) {
                            fetch(plan.get(k), vault, packed, scratch, plain, files, progress);
                        }
                        return null;
                    } catch (StorageException | IOException | RuntimeException e) {
                        stop.set(true);
                        throw e;
                    }
                }));
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
            stop.set(true);
            threads.shutdownNow();
        }
    }

    private void fetch(
            Fetch f,
            Vault vault,
            byte[] packed,
            byte[] scratch,
            byte[] plain,
            List<FileChannel> files,
            Progress progress)
            throws StorageException, IOException {
        String key = keys.pack(f.pack());
        store.getRange(key, f.offset(), packed, 0, f.length());
        ChunkId have = null;
        for (Target t : f.targets()) {
            if (!t.id().equals(have)) {
                Place p = t.place();
                Entry e = new Entry(t.id(), p.plainBytes(), p.storedBytes(), p.encoding());
                PackFormat.unpack(key, vault, codec, e, packed, p.offset() - f.offset(), scratch, plain);
                have = t.id();
            }
            ByteBuffer b = ByteBuffer.wrap(plain, 0, t.length());
            while (b.hasRemaining()) {
                files.get(t.file()).write(b, t.offset() + b.position());
            }
            progress.add(t.length());
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
