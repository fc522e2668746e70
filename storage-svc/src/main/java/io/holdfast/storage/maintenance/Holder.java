package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Hold;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.StorageException;
import java.time.Clock;
import java.time.Instant;
import java.util.HashSet;
import java.util.TreeSet;

/** Holds checkpoints and releases them; see {@link Forgetter} for what happens when both come at once. */
final class Holder {
    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;
    private final Clock clock;

    Holder(ObjectStore store, Keys keys, Survey survey, Clock clock) {
        this.store = store;
        this.keys = keys;
        this.survey = survey;
        this.clock = clock;
    }

    /** What came of it. */
    record Held(boolean locked, String note) {}

    /**
     * Holds a checkpoint.
     *
     * @param until lock its objects in the bucket until then; or null
     */
    Held hold(String checkpoint, String reason, Instant until, Progress progress) throws StorageException {
        Names.require("checkpoint", checkpoint);
        survey.checkpoint(checkpoint); // UNKNOWN_CHECKPOINT, or broken
        byte[] data = new Hold(Hold.FORMAT, checkpoint, reason, clock.instant(), until).encode();
        store.put(keys.hold(checkpoint), data, 0, data.length);
        if (store.size(keys.gone(checkpoint)).isPresent()
                || store.size(keys.checkpoint(checkpoint)).isEmpty()) {
            // The object stays: it may be by now that of somebody else who was told that he holds. It only keeps what a
            // forget, which
            // gave way too, has left; a prune removes it when there is no such checkpoint.
            throw new StorageException(
                    ErrorCode.REPOSITORY_BUSY,
                    "checkpoint " + checkpoint + " is being forgotten",
                    "list the checkpoints; if it is still there, hold it again, or release it");
        }
        if (until == null) {
            return new Held(
                    false,
                    "Holdfast keeps the checkpoint until it is released; who can write to the bucket can delete it");
        }
        if (!store.lock(keys.checkpoint(checkpoint), until)) {
            return new Held(
                    false,
                    "the bucket has no S3 Object Lock: Holdfast keeps the checkpoint until it is released, but who can"
                            + " write to the bucket can delete it");
        }
        long lacking = lock(checkpoint, until, progress);
        return new Held(
                true,
                "the bucket refuses to delete the checkpoint's objects until " + until
                        + (lacking == 0
                                ? ""
                                : "; but " + lacking
                                        + " of the chunks that it needs are in no pack that is there: verify it"));
    }

    /**
     * Locks every object that the checkpoint needs.
     *
     * <p>A prune may delete a pack meanwhile, also one that it found free a moment before it was locked here: one whose chunks another pack has, which
     * stays, and which an index named before that prune looked for locks. So it looks again until there is nothing left to lock: the last look is
     * later than every lock, and has seen that other pack.
     *
     * @return how many chunks that it needs are in no pack that is there
     */
    private long lock(String checkpoint, Instant until, Progress progress) throws StorageException {
        CheckpointManifest m = survey.checkpoint(checkpoint);
        LongSet wanted = survey.chunkSet();
        var objects = new TreeSet<String>();
        objects.add(keys.config());
        for (VmArchive a : m.vms()) {
            Survey.addTo(wanted, survey.vm(m, a));
            objects.add(a.manifestKey());
        }
        progress.steps();
        progress.total(objects.size());
        for (String key : objects) {
            store.lock(key, until);
            progress.add(1);
        }
        var tried = new HashSet<ChunkId>();
        var locked = new HashSet<ChunkId>();
        for (; ; ) {
            var more = new TreeSet<ChunkId>();
            LongSet found = survey.chunkSet();
            var packs = survey.packs();
            boolean whole = true;
            for (ChunkId index : survey.indexes().keySet()) {
                whole &= read(index, t -> {
                    if (!packs.containsKey(t.id())) {
                        return;
                    }
                    boolean needed = false;
                    for (Entry e : t.content()) {
                        if (wanted.contains(e.id())) {
                            needed = true;
                            boolean ignored = locked.contains(t.id()) && found.add(e.id());
                        }
                    }
                    if (needed && tried.add(t.id())) {
                        more.add(t.id());
                    }
                });
            }
            if (more.isEmpty() && whole) {
                return wanted.size() - found.size();
            }
            progress.total(progress.total() + more.size());
            for (ChunkId pack : more) {
                try {
                    store.lock(keys.pack(pack), until);
                    locked.add(pack);
                } catch (StorageException e) {
                    if (!e.isMissing()) {
                        throw e;
                    }
                }
                progress.add(1);
            }
        }
    }

    /** Reads an index; false if a prune has replaced it meanwhile. */
    private boolean read(ChunkId index, IndexFormat.EachTable each) throws StorageException {
        try {
            survey.index(index, each);
            return true;
        } catch (StorageException e) {
            if (!e.isMissing()) {
                throw e;
            }
            return false;
        }
    }

    /** Releases; done too when it is not held. */
    void release(String checkpoint) throws StorageException {
        Names.require("checkpoint", checkpoint);
        store.delete(keys.hold(checkpoint));
    }
}
