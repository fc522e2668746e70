package io.holdfast.storage.app;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex.Place;
import io.holdfast.storage.domain.StorageException;
import java.time.Duration;
import java.util.Set;
import java.util.function.LongSupplier;

/**
 * What an archive may rely on although garbage collection works beside it: packs that were there, and not marked, when the
 * lease began. No prune deletes one of those before the repository's grace period is over, counted from then; so an archive
 * that has written its VM manifests within half of it, and a commit within the other half, name nothing that is gone. See
 * docs/formats.md. Thread-safe.
 */
public final class Lease {
    private final Indexes indexes;
    private final Set<ChunkId> marked;
    private final Set<ChunkId> present;
    private final Duration half;
    private final long start;
    private final LongSupplier nanos;

    Lease(Indexes indexes, Set<ChunkId> marked, Set<ChunkId> present, Duration half, long start, LongSupplier nanos) {
        this.indexes = indexes;
        this.marked = marked;
        this.present = present;
        this.half = half;
        this.start = start;
        this.nanos = nanos;
    }

    /** Whether the repository has that chunk where it will stay: then it need not be stored again. */
    public boolean has(ChunkId chunk) {
        Place p = indexes.find(chunk);
        return p != null && hasPack(p.pack());
    }

    /** Whether that pack is there and will stay. */
    public boolean hasPack(ChunkId pack) {
        return present.contains(pack) && !marked.contains(pack);
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
}
