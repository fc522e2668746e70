package io.holdfast.storage.app;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.ChunkIndex.Place;
import io.holdfast.storage.domain.ChunkIndex.Standing;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jboss.logging.Logger;

/**
 * What the repository has, from all its indexes: in files of the state folder that are mapped, so that the heap does not grow with the
 * repository, with a copy of each index beside them so that a start reads only what is new. Thread-safe.
 */
public final class Indexes {
    private static final Logger LOG = Logger.getLogger(Indexes.class);
    /** Indexes that are read at a time. */
    private static final int LOADS = 4;
    /** Indexes that are larger are read one after another. */
    private static final long BESIDE = 16L << 20;

    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final Path cache;
    /** Held while indexes are taken in or packs looked for, which waits for the bucket: nobody waits for it beyond an interrupt. */
    private final ReentrantLock work = new ReentrantLock();

    private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
    private final Path state;
    /** Replaced as a whole. */
    private Known known;
    /** Packs are gone, and the chunks of what is known were not all told again; guarded by {@link #work}. */
    private boolean untold;

    private Set<ChunkId> going = Set.of();
    /** Leases that are held: more only under {@link #work}, fewer at any time. */
    private final AtomicInteger leases = new AtomicInteger();

    /** What indexes said. */
    private static final class Known {
        final Scratch room;
        final ChunkIndex index;
        final Set<ChunkId> loaded = ConcurrentHashMap.newKeySet();

        Known(Path state) {
            room = new Scratch(state);
            index = new ChunkIndex(room);
        }
    }

    public Indexes(ObjectStore store, Keys keys, Repository repository, Path state) throws IOException {
        this.store = store;
        this.keys = keys;
        this.repository = repository;
        this.cache = state.resolve("index-cache");
        Files.createDirectories(cache);
        this.state = state;
        this.known = new Known(state);
    }

    /**
     * Takes in every index of the bucket that is not known yet. If one has gone, all are taken in anew, beside what is known, which serves until then:
     * whoever asks meanwhile finds what he would have found. While an archive is at work nothing that is known is dropped: it goes by it all the time.
     */
    public void refresh() throws StorageException {
        alone(() -> {
            takeNew();
            return null;
        });
    }

    /** What waits for the bucket. */
    private interface Work<T> {
        T done() throws StorageException;
    }

    /** Works alone. Who waits for that gives up when it is interrupted. */
    private <T> T alone(Work<T> what) throws StorageException {
        try {
            work.lockInterruptibly();
        } catch (InterruptedException e) {
            throw interrupted(e);
        }
        try {
            return what.done();
        } finally {
            work.unlock();
        }
    }

    private static StorageException interrupted(InterruptedException e) {
        Thread.currentThread().interrupt();
        return new StorageException(ErrorCode.INTERRUPTED, "reading indexes: the service is ending", "try again", e);
    }

    private void takeNew() throws StorageException {
        Set<ChunkId> there = new HashSet<>();
        Set<ChunkId> large = new HashSet<>();
        for (Stored s : store.list(keys.indexes())) {
            ChunkId id = ChunkId.parse(s.key().substring(keys.indexes().length()));
            if (id == null) {
                LOG.warnf("event=foreign-object key=%s", s.key());
                continue;
            }
            there.add(id);
            if (s.bytes() > BESIDE) {
                large.add(id);
            }
        }
        if (leases.get() > 0) {
            take(known, there, large);
            return;
        }
        tidy(there);
        if (there.containsAll(known.loaded)) {
            take(known, there, large);
            return;
        }
        Known next = new Known(state);
        boolean done = false;
        try {
            take(next, there, large);
            lock.writeLock().lock();
            try {
                Known before = known;
                known = next;
                untold = false;
                done = true;
                before.room.close();
            } finally {
                lock.writeLock().unlock();
            }
        } finally {
            if (!done) {
                next.room.close();
            }
        }
    }

    /** Copies of indexes that are gone go, too. */
    private void tidy(Set<ChunkId> there) {
        try (var copies = Files.list(cache)) {
            for (Path copy : copies.toList()) {
                ChunkId id = ChunkId.parse(copy.getFileName().toString());
                if (id != null && !there.contains(id)) {
                    Files.delete(copy);
                }
            }
        } catch (IOException e) {
            LOG.warnf(e, "event=index-cache-not-tidied folder=%s", cache);
        }
    }

    /** Takes in those that are not known yet. */
    private void take(Known into, Set<ChunkId> there, Set<ChunkId> large) throws StorageException {
        List<ChunkId> fresh =
                there.stream().filter(id -> !into.loaded.contains(id)).toList();
        if (fresh.size() < 2) {
            for (ChunkId id : fresh) {
                load(into, id);
            }
            return;
        }
        // several at a time: where the bucket is far, one after another would be most of a restore
        try (ExecutorService threads = Executors.newFixedThreadPool(Math.min(LOADS, fresh.size()))) {
            List<Future<Void>> running = new ArrayList<>();
            for (ChunkId id : fresh) {
                if (!large.contains(id)) {
                    running.add(threads.submit(() -> {
                        load(into, id);
                        return null;
                    }));
                }
            }
            try {
                for (Future<Void> f : running) {
                    get(f);
                }
                for (ChunkId id : large) {
                    if (!into.loaded.contains(id)) {
                        load(into, id);
                    }
                }
            } finally {
                running.forEach(f -> f.cancel(true));
            }
        }
    }

    /**
     * Takes in what is new, then looks which packs there are: one listing. What indexes name was stored before they were, so a pack that is
     * missing in the listing is gone, by whatever hand; chunks of such a pack, and of those that are about to go, are found in another
     * pack from now on, if one has them.
     *
     * @param going packs that are to be deleted
     * @return the packs that are there, each with the size that the indexes say, where they say one
     */
    public Set<ChunkId> look(Set<ChunkId> going) throws StorageException {
        return alone(() -> {
            this.going = going;
            return lookNow();
        });
    }

    /** The same, and from then on nothing that is known is dropped, until {@link #letGo}. */
    Set<ChunkId> lease(Set<ChunkId> going) throws StorageException {
        return alone(() -> {
            this.going = going;
            Set<ChunkId> there = lookNow();
            leases.incrementAndGet();
            return there;
        });
    }

    /** The end of a lease. */
    void letGo() {
        leases.decrementAndGet();
    }

    /** The same, with the packs that were said last to be about to go. */
    public Set<ChunkId> look() throws StorageException {
        return alone(this::lookNow);
    }

    private Set<ChunkId> lookNow() throws StorageException {
        takeNew();
        Map<ChunkId, Stored> there = new HashMap<>();
        for (Stored s : store.list(keys.packs())) {
            ChunkId id = ChunkId.parse(s.key().substring(keys.packs().length()));
            if (id != null) {
                there.put(id, s);
            }
        }
        List<ChunkId> gone = new ArrayList<>();
        lock.writeLock().lock();
        try {
            untold |= known.index.judge((pack, bytes) -> {
                Stored s = there.get(pack);
                if (s == null || s.bytes() != bytes) {
                    gone.add(pack);
                    return Standing.GONE;
                }
                return going.contains(pack) ? Standing.GOING : Standing.WELL;
            });
        } finally {
            lock.writeLock().unlock();
        }
        if (untold) {
            for (ChunkId id : List.copyOf(known.loaded)) {
                try {
                    tables(id, known.index::again);
                } catch (StorageException e) {
                    if (!e.isMissing()) { // else replaced meanwhile, and its copy here is gone
                        throw e;
                    }
                }
            }
            untold = false;
        }
        if (!gone.isEmpty()) {
            LOG.warnf("event=packs-gone count=%d first=%s", gone.size(), keys.pack(gone.get(0)));
            gone.forEach(there::remove);
        }
        return new HashSet<>(there.keySet());
    }

    /** Size of a pack in bytes as its index says it; -1 if no index names it. */
    long packBytes(ChunkId pack) {
        lock.readLock().lock();
        try {
            return known.index.packBytes(pack);
        } finally {
            lock.readLock().unlock();
        }
    }

    /** What another thread did for the repository. */
    static void get(Future<Void> f) throws StorageException {
        try {
            f.get();
        } catch (InterruptedException e) {
            throw interrupted(e);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof StorageException s) {
                throw s;
            }
            throw new IllegalStateException(e.getCause());
        }
    }

    /** Takes an index in. */
    private void load(Known into, ChunkId id) throws StorageException {
        tables(id, into.index::add);
        into.loaded.add(id);
    }

    /** Reads an index, from its copy here or from the bucket. */
    private void tables(ChunkId id, IndexFormat.EachTable each) throws StorageException {
        String key = keys.index(id);
        Path file = cache.resolve(id.hex());
        try {
            if (Files.exists(file)) {
                ByteBuffer data = contents(file);
                if (ChunkId.of(data).equals(id)) {
                    tables(key, data, each);
                    return;
                }
                Files.delete(file);
            }
        } catch (IOException
                | InternalError e) { // which a mapped file gives that is cut short, or on a disk that fails
            LOG.warnf(e, "event=index-cache-unreadable file=%s", file);
        }
        ByteBuffer data = repository.loadLarge(key, Limits.MAX_INDEX);
        if (!ChunkId.of(data).equals(id)) {
            throw StorageException.corrupt(key, "its digest is not its name");
        }
        tables(key, data, each);
        keep(file, data);
    }

    private static ByteBuffer contents(Path file) throws IOException {
        try (FileChannel c = FileChannel.open(file, StandardOpenOption.READ)) {
            if (c.size() > Room.SMALL) {
                return c.map(FileChannel.MapMode.READ_ONLY, 0, Math.min(c.size(), Integer.MAX_VALUE));
            }
            ByteBuffer data = ByteBuffer.allocate((int) c.size());
            InPieces.read(c, 0, data); // as far as it goes: what is missing fails the digest
            return data.flip();
        }
    }

    private void tables(String key, ByteBuffer stored, IndexFormat.EachTable each) throws StorageException {
        ByteBuffer data = repository.unsealed(key, stored);
        boolean sealed = repository.vault().sealed();
        lock.writeLock().lock();
        try {
            IndexFormat.each(key, data, sealed, each);
        } finally {
            lock.writeLock().unlock();
        }
    }

    private static void keep(Path file, ByteBuffer data) {
        try {
            Folders.writeDurably(file, data);
        } catch (IOException e) {
            LOG.warnf(e, "event=index-cache-unwritable file=%s", file);
        }
    }

    /** Writes an index of new packs to the bucket and takes it in. Returns its bytes. */
    public long publish(List<Table> packs) throws StorageException {
        return alone(() -> publishNow(packs));
    }

    private long publishNow(List<Table> packs) throws StorageException {
        byte[] data = repository.sealed(keys.indexes(), IndexFormat.encode(packs));
        ChunkId id = ChunkId.of(data);
        store.put(keys.index(id), data, 0, data.length);
        keep(cache.resolve(id.hex()), ByteBuffer.wrap(data));
        lock.writeLock().lock();
        try {
            for (Table t : packs) {
                known.index.add(t);
            }
            known.loaded.add(id);
        } finally {
            lock.writeLock().unlock();
        }
        return data.length;
    }

    /** Whether the repository has that chunk. */
    public boolean contains(ChunkId id) {
        lock.readLock().lock();
        try {
            return known.index.contains(id);
        } finally {
            lock.readLock().unlock();
        }
    }

    /** Where a chunk is. */
    public Place find(ChunkId id) {
        lock.readLock().lock();
        try {
            return known.index.find(id);
        } finally {
            lock.readLock().unlock();
        }
    }

    /** Chunks known. */
    public long chunks() {
        lock.readLock().lock();
        try {
            return known.index.size();
        } finally {
            lock.readLock().unlock();
        }
    }

    static StorageException io(String what, Path file, IOException e) {
        String text = String.valueOf(e.getMessage());
        if (text.contains("No space left")) {
            return new StorageException(
                    ErrorCode.NO_SPACE, what + " " + file + ": no space left", "free space in the folder", e);
        }
        return new StorageException(
                ErrorCode.IO_FAILED,
                what + " " + file + ": " + e.getClass().getSimpleName() + " " + text,
                "look at the host's disk and the service's permissions",
                e);
    }
}
