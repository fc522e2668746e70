package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Hold;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.StorageException;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
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
        return lock(checkpoint, until, progress)
                ? new Held(true, "the bucket refuses to delete the checkpoint's objects until " + until)
                : new Held(
                        false,
                        "the bucket has no S3 Object Lock: Holdfast keeps the checkpoint until it is released, but who can"
                                + " write to the bucket can delete it");
    }

    /** Locks every object that the checkpoint needs. */
    private boolean lock(String checkpoint, Instant until, Progress progress) throws StorageException {
        if (!store.lock(keys.checkpoint(checkpoint), until)) {
            return false;
        }
        CheckpointManifest m = survey.checkpoint(checkpoint);
        LongSet wanted = survey.chunkSet();
        var objects = new TreeSet<String>();
        objects.add(keys.config());
        for (VmArchive a : m.vms()) {
            Survey.addTo(wanted, survey.vm(m, a));
            objects.add(a.manifestKey());
        }
        // packs of a checkpoint are there before it is; one that is gone cannot be locked, and others may have its
        // chunks (ADR 0013)
        var packs = survey.packs();
        for (ChunkId index : survey.indexes().keySet()) {
            survey.index(index, t -> {
                if (packs.containsKey(t.id()) && t.entries().stream().anyMatch(e -> wanted.contains(e.id()))) {
                    objects.add(keys.pack(t.id()));
                }
            });
        }
        progress.steps();
        progress.total(objects.size());
        List<String> all = new ArrayList<>(objects);
        for (String key : all) {
            store.lock(key, until);
            progress.add(1);
        }
        return true;
    }

    /** Releases; done too when it is not held. */
    void release(String checkpoint) throws StorageException {
        Names.require("checkpoint", checkpoint);
        store.delete(keys.hold(checkpoint));
    }
}
