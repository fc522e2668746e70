package io.holdfast.storage.app;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.Mark;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.StorageException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.LongSupplier;

/** The uploads' side of the agreement with garbage collection. Thread-safe. */
public final class Leases {
    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final LongSupplier nanos;

    public Leases(ObjectStore store, Keys keys, Repository repository) {
        this(store, keys, repository, System::nanoTime);
    }

    /** With another clock, for tests; nanoseconds that never go back. */
    public Leases(ObjectStore store, Keys keys, Repository repository, LongSupplier nanos) {
        this.store = store;
        this.keys = keys;
        this.repository = repository;
        this.nanos = nanos;
    }

    /** A mark with its place and time. */
    public record Found(String key, Mark mark, Instant since) {}

    /** Every mark. */
    public List<Found> marks() throws StorageException {
        return found("mark-");
    }

    /** What prunes are about to delete. */
    public List<Found> sweeps() throws StorageException {
        return found("sweep-");
    }

    private List<Found> found(String kind) throws StorageException {
        var found = new ArrayList<Found>();
        long bytes = 0;
        for (Stored s : store.list(keys.gc() + kind)) {
            bytes += s.bytes();
            if (bytes > Limits.MAX_MARKS) {
                throw Mark.broken(
                        s.key(), "with the others it is larger than the limit of " + Limits.MAX_MARKS + " bytes");
            }
            Mark m = read(s);
            if (m != null) {
                found.add(new Found(s.key(), m, s.modified()));
            }
        }
        return found;
    }

    /** Reads a mark or sweep; null if it was removed meanwhile. */
    private Mark read(Stored s) throws StorageException {
        byte[] data;
        try {
            data = store.get(s.key(), Limits.MAX_MARK);
        } catch (StorageException e) {
            if (e.code() != ErrorCode.REPOSITORY_CORRUPT) {
                throw e;
            }
            if (store.size(s.key()).isEmpty()) {
                return null;
            }
            throw Mark.broken(s.key(), "is larger than the limit of " + Limits.MAX_MARK + " bytes");
        }
        return Mark.decode(s.key(), data);
    }

    /** Reads every mark and sweep; tells of those that are broken: with one of them there is neither archive nor prune. */
    public void check(BiConsumer<String, StorageException> broken) throws StorageException {
        for (String kind : List.of("mark-", "sweep-")) {
            for (Stored s : store.list(keys.gc() + kind)) {
                try {
                    Mark ignored = read(s);
                } catch (StorageException e) {
                    if (e.code() != ErrorCode.REPOSITORY_CORRUPT) {
                        throw e;
                    }
                    broken.accept(s.key(), e);
                }
            }
        }
    }

    /**
     * Begins; to be closed. The order counts: the time, then marks, then sweeps, then indexes, then packs. A pack that loses its mark while a prune is
     * about to delete it is seen by one of the two (see {@code Pruner}); one that was deleted is not there.
     */
    public Lease begin(Indexes indexes) throws StorageException {
        long start = nanos.getAsLong();
        Set<ChunkId> going = going(marks());
        going.addAll(going(sweeps()));
        Set<ChunkId> present = indexes.lease(going);
        boolean done = false;
        try {
            Duration half = repository.grace().dividedBy(2);
            done = true;
            return new Lease(store, keys, indexes, going, present, half, start, nanos);
        } finally {
            if (!done) {
                indexes.letGo();
            }
        }
    }

    private static Set<ChunkId> going(List<Found> found) {
        Set<ChunkId> packs = new HashSet<>();
        for (Found f : found) {
            f.mark().packs().forEach(p -> packs.add(ChunkId.parse(p)));
        }
        return packs;
    }

    /**
     * Looks, after a checkpoint's manifest was written, whether it came in time, and takes it back if not.
     *
     * @throws StorageException TOO_LATE if a prune may have, or a forget has, begun to remove what it names
     */
    public void checkCommit(CheckpointManifest m) throws StorageException {
        String key = keys.checkpoint(m.checkpoint());
        Map<String, Instant> times = new HashMap<>();
        for (Stored s : store.list(keys.vms() + m.checkpoint() + "/")) {
            times.put(s.key(), s.modified());
        }
        Instant committed = null;
        for (Stored s : store.list(key)) {
            if (s.key().equals(key)) {
                committed = s.modified();
            }
        }
        String wrong =
                committed == null || store.size(keys.gone(m.checkpoint())).isPresent()
                        ? "the checkpoint is being removed"
                        : null;
        Duration half = repository.grace().dividedBy(2);
        for (VmArchive a : m.vms()) {
            Instant written = times.get(a.manifestKey());
            if (wrong == null && written == null) {
                wrong = "object " + a.manifestKey() + " is gone";
            } else if (wrong == null && written.plus(half).isBefore(committed)) {
                wrong = "object " + a.manifestKey() + " was written at " + written
                        + ", longer ago than half of the repository's grace period";
            }
        }
        if (wrong != null) {
            store.delete(key);
            throw new StorageException(
                    ErrorCode.TOO_LATE,
                    "checkpoint " + m.checkpoint() + " came too late to be committed: " + wrong,
                    "take another checkpoint");
        }
    }
}
