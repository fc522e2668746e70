package io.holdfast.storage.app;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex.Place;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.StorageException;
import java.time.Duration;
import java.util.OptionalLong;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;

/**
 * What an archive may rely on although garbage collection works beside it: packs that were there, and not marked, when the
 * lease began. No prune deletes one of those before the repository's grace period is over, counted from then; so an archive
 * that has written its VM manifests within half of it, and a commit within the other half, name nothing that is gone. See
 * docs/formats.md. What the service knows of indexes is not dropped until it is closed. Thread-safe.
 */
public final class Lease implements AutoCloseable {
    /** Keys of one answer to a listing. */
    private static final int PAGE = 1000;

    private final ObjectStore store;
    private final Keys keys;
    private final Indexes indexes;
    private final Set<ChunkId> marked;
    private final Set<ChunkId> present;
    private final Duration half;
    private final long start;
    private final LongSupplier nanos;
    private boolean closed;
    /** Packs that the archive itself brought since. */
    private final Set<ChunkId> own = ConcurrentHashMap.newKeySet();
    /** Packs that were counted on. */
    private final Set<ChunkId> used = ConcurrentHashMap.newKeySet();

    Lease(
            ObjectStore store,
            Keys keys,
            Indexes indexes,
            Set<ChunkId> marked,
            Set<ChunkId> present,
            Duration half,
            long start,
            LongSupplier nanos) {
        this.store = store;
        this.keys = keys;
        this.indexes = indexes;
        this.marked = marked;
        this.present = present;
        this.half = half;
        this.start = start;
        this.nanos = nanos;
    }

    /** Whether the repository has that chunk where it will stay: then it need not be stored again, and its pack is counted on. */
    public boolean has(ChunkId chunk) {
        Place p = indexes.find(chunk);
        if (p == null || !countsOn(p.pack())) {
            return false;
        }
        used.add(p.pack());
        return true;
    }

    /** The same, but the pack is not counted on yet. */
    boolean finds(ChunkId chunk) {
        Place p = indexes.find(chunk);
        return p != null && countsOn(p.pack());
    }

    private boolean countsOn(ChunkId pack) {
        return own.contains(pack) || hasPack(pack);
    }

    /** Says that the archive itself brought a pack, which an index names by now: too young for any prune to mark it while the lease lasts. */
    public void brought(ChunkId pack) {
        own.add(pack);
    }

    /** Whether that pack is there and will stay. */
    public boolean hasPack(ChunkId pack) {
        return present.contains(pack) && !marked.contains(pack);
    }

    /**
     * Packs that were counted on and are not there any more, or not in their size. No prune does that; a hand on the bucket may, or a fault
     * of its server. Costs one listing of the packs, or less.
     */
    public SortedSet<ChunkId> vanished() throws StorageException {
        SortedSet<ChunkId> gone = new TreeSet<>();
        if (used.size() <= 1 + present.size() / PAGE) {
            for (ChunkId p : used) {
                if (!store.size(keys.pack(p)).equals(OptionalLong.of(indexes.packBytes(p)))) {
                    gone.add(p);
                }
            }
            return gone;
        }
        gone.addAll(used);
        for (Stored s : store.list(keys.packs())) {
            ChunkId id = ChunkId.parse(s.key().substring(keys.packs().length()));
            if (id != null && gone.contains(id) && indexes.packBytes(id) == s.bytes()) {
                gone.remove(id);
            }
        }
        return gone;
    }

    /**
     * Call when everything that relies on the lease is in the bucket.
     *
     * @throws StorageException TOO_LATE if that took too long: what it relied on may be gone
     */
    public void check() throws StorageException {
        Duration took = Duration.ofNanos(nanos.getAsLong() - start);
        if (took.compareTo(half) > 0) {
            throw new StorageException(
                    ErrorCode.TOO_LATE,
                    "the archive took " + took.toSeconds() + " s, longer than half of the repository's grace period",
                    "take another checkpoint; make the uplink faster, or use a repository with a longer grace period");
        }
    }

    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            indexes.letGo();
        }
    }
}
