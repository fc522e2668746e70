package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance.ForgetEntry;
import io.holdfast.schemas.event.Maintenance.ForgetResult;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.Retention;
import io.holdfast.storage.domain.Retention.Candidate;
import io.holdfast.storage.domain.StorageException;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Removes checkpoints, in the reverse order of writing: the checkpoint's manifest first, so that what is left after a crash is
 * garbage and no broken checkpoint; then its VM manifests. Packs are left to prune.
 *
 * <p>Against a hold that comes at the same time, with no lock: forget writes {@code gone/CHECKPOINT} and then looks for
 * {@code holds/CHECKPOINT.json}; hold writes its object and then looks for the other. Whoever comes second sees the first, so that never
 * both go on.
 */
final class Forgetter {
    private static final int MOST = 1000;
    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;
    private final Clock clock;

    Forgetter(ObjectStore store, Keys keys, Survey survey, Clock clock) {
        this.store = store;
        this.keys = keys;
        this.survey = survey;
        this.clock = clock;
    }

    /** Removes the checkpoints named; none is removed if one of them may not be. One that is gone already counts as removed. */
    ForgetResult named(List<String> checkpoints, Collection<String> inUse, boolean dryRun, Progress progress)
            throws StorageException {
        Set<String> there = survey.checkpoints();
        Set<String> held = survey.holds();
        var go = new ArrayList<ForgetEntry>();
        for (String id : new TreeSet<>(checkpoints)) {
            Names.require("checkpoint", id);
            ForgetEntry e = there.contains(id) ? entry(id) : new ForgetEntry(id, null, null, List.of());
            if (inUse.contains(id)) {
                throw new StorageException(
                        ErrorCode.REPOSITORY_BUSY,
                        "checkpoint " + id + " is being restored",
                        "ask again when the restore has ended");
            }
            if (held.contains(id)) {
                throw held(id);
            }
            requireUnlocked(id, there);
            go.add(e);
        }
        return carryOut(go, new ArrayList<>(), dryRun, progress, true);
    }

    /** Removes what a policy does not keep. */
    ForgetResult byPolicy(String instance, KeepPolicy keep, Collection<String> inUse, boolean dryRun, Progress progress)
            throws StorageException {
        if (keep.keepsNothing()) {
            throw new StorageException(
                    ErrorCode.INVALID_EVENT, "the policy would keep nothing", "give at least one of its rules");
        }
        Set<String> held = survey.holds();
        var byInstance = new TreeMap<String, List<Candidate>>();
        var kept = new ArrayList<ForgetEntry>();
        for (String id : survey.checkpoints()) {
            ForgetEntry e = entry(id);
            if (e.takenAt() == null) {
                kept.add(new ForgetEntry(id, null, null, List.of("unreadable")));
            } else if (instance == null || instance.equals(e.instance())) {
                byInstance.computeIfAbsent(e.instance(), k -> new ArrayList<>()).add(new Candidate(id, e.takenAt()));
            }
        }
        var go = new ArrayList<ForgetEntry>();
        for (var i : byInstance.entrySet()) {
            for (var c : Retention.apply(keep, i.getValue()).entrySet()) {
                Candidate cp = c.getKey();
                var reasons = new ArrayList<>(c.getValue());
                if (held.contains(cp.checkpoint())) {
                    reasons.add("held");
                }
                if (inUse.contains(cp.checkpoint())) {
                    reasons.add("in use");
                }
                if (reasons.isEmpty() && lockedUntil(cp.checkpoint()) != null) {
                    reasons.add("retained");
                }
                var e = new ForgetEntry(cp.checkpoint(), i.getKey(), cp.takenAt(), reasons);
                (reasons.isEmpty() ? go : kept).add(e);
            }
        }
        return carryOut(go, kept, dryRun, progress, false);
    }

    private ForgetEntry entry(String id) throws StorageException {
        try {
            CheckpointManifest m = survey.checkpoint(id);
            return new ForgetEntry(id, m.instance(), m.takenAt(), List.of());
        } catch (StorageException e) {
            Damages.kind(e); // what is no damage is thrown on
            return new ForgetEntry(id, null, null, List.of());
        }
    }

    private ForgetResult carryOut(
            List<ForgetEntry> go, List<ForgetEntry> kept, boolean dryRun, Progress progress, boolean all)
            throws StorageException {
        List<ForgetEntry> now = go.subList(0, Math.min(MOST, go.size()));
        if (dryRun) {
            return new ForgetResult(true, now, kept, go.size() - now.size());
        }
        progress.steps();
        progress.total(now.size());
        var done = new ArrayList<ForgetEntry>();
        for (ForgetEntry e : now) {
            if (remove(e.checkpoint())) {
                done.add(e);
            } else if (all) {
                throw held(e.checkpoint());
            } else {
                kept.add(new ForgetEntry(e.checkpoint(), e.instance(), e.takenAt(), List.of("held")));
            }
            progress.add(1);
        }
        return new ForgetResult(false, done, kept, go.size() - now.size());
    }

    /** Removes one; false if it was held meanwhile. */
    boolean remove(String checkpoint) throws StorageException {
        byte[] note = clock.instant().toString().getBytes(StandardCharsets.UTF_8);
        store.put(keys.gone(checkpoint), note, 0, note.length);
        if (store.size(keys.hold(checkpoint)).isPresent()) {
            store.delete(keys.gone(checkpoint));
            return false;
        }
        store.delete(keys.checkpoint(checkpoint));
        for (Stored s : store.list(keys.vms() + checkpoint + "/")) {
            store.delete(s.key());
        }
        return true; // the note stays until a prune finds it old: a commit that is late must see it
    }

    private static StorageException held(String id) {
        return new StorageException(
                ErrorCode.CHECKPOINT_HELD, "checkpoint " + id + " is held", "release it first, if nobody needs it");
    }

    private Instant lockedUntil(String id) throws StorageException {
        Instant until = store.lockedUntil(keys.checkpoint(id)).orElse(null);
        return until != null && until.isAfter(clock.instant()) ? until : null;
    }

    private void requireUnlocked(String id, Set<String> there) throws StorageException {
        Instant until = there.contains(id) ? lockedUntil(id) : null;
        if (until != null) {
            throw new StorageException(
                    ErrorCode.CHECKPOINT_HELD,
                    "checkpoint " + id + " is locked in the bucket until " + until,
                    "wait until then: nobody can shorten the lock");
        }
    }
}
