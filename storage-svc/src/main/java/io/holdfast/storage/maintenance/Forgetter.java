package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance.ForgetEntry;
import io.holdfast.schemas.event.Maintenance.ForgetResult;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
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
 *
 * <p>A forget that was cut off, or failed, could not tell of what it had removed: the next one tells of it. That its end tells of a checkpoint is noted in
 * {@code gone/CHECKPOINT} last, with who it was: should the service die before the end is in its journal, the same command tells of it again.
 */
final class Forgetter {
    private static final int MOST = 1000;
    /** Of them what earlier ones could not tell of. */
    private static final int MOST_UNTOLD = MOST / 2;

    /** What a note has when its removal was told; shorter than a time, longer than what a prune writes. */
    private static final int TOLD = 16;

    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;
    private final Clock clock;
    private final String by;

    /**
     * Makes it.
     *
     * @param by what knows this forget from others, when it is done again too
     */
    Forgetter(ObjectStore store, Keys keys, Survey survey, Clock clock, String by) {
        this.by = ChunkId.of(by.getBytes(StandardCharsets.UTF_8)).hex().substring(0, TOLD);
        this.store = store;
        this.keys = keys;
        this.survey = survey;
        this.clock = clock;
    }

    /**
     * Removes the checkpoints named; none is removed if one of them may not be, one that is held while others are removed already is told as kept. One
     * that is gone already counts as removed.
     */
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
        if (dryRun) {
            List<ForgetEntry> now = go.subList(0, Math.min(MOST, go.size()));
            return result(true, now, kept, go.size() - now.size());
        }
        var done = new ArrayList<ForgetEntry>();
        for (String id : untold()) {
            if (done.size() < MOST_UNTOLD
                    && go.stream().noneMatch(e -> e.checkpoint().equals(id))) {
                done.add(new ForgetEntry(id, null, null, List.of()));
            }
        }
        List<ForgetEntry> now = go.subList(0, Math.min(MOST - done.size(), go.size()));
        progress.steps();
        progress.total(now.size());
        int removed = 0;
        for (ForgetEntry e : now) {
            if (remove(e.checkpoint())) {
                done.add(e);
                removed++;
            } else if (all && removed == 0) {
                throw held(e.checkpoint());
            } else {
                kept.add(new ForgetEntry(e.checkpoint(), e.instance(), e.takenAt(), List.of("held")));
            }
            progress.add(1);
        }
        for (ForgetEntry e : done) {
            byte[] told = by.getBytes(StandardCharsets.US_ASCII);
            store.put(keys.gone(e.checkpoint()), told, 0, told.length);
        }
        return result(false, done, kept, go.size() - now.size());
    }

    private static ForgetResult result(boolean dryRun, List<ForgetEntry> forgotten, List<ForgetEntry> kept, int more) {
        List<ForgetEntry> first = kept.subList(0, Math.min(MOST, kept.size()));
        return new ForgetResult(dryRun, forgotten, first, more, kept.size() == first.size() ? null : kept.size());
    }

    /** Checkpoints that a forget has removed, and of which none has told but this very one. */
    private Set<String> untold() throws StorageException {
        var untold = new TreeSet<String>();
        for (Stored s : store.list(keys.goneFolder())) {
            String id = s.key().substring(keys.goneFolder().length());
            if (Names.valid(id) && (s.bytes() > TOLD || (s.bytes() == TOLD && toldHere(s.key())))) {
                untold.add(id);
            }
        }
        if (!untold
                .isEmpty()) { // listed later: one that is not there was removed, and cannot be committed past its note
            untold.removeAll(survey.checkpoints());
        }
        return untold;
    }

    private boolean toldHere(String note) throws StorageException {
        try {
            return new String(store.get(note, TOLD), StandardCharsets.US_ASCII).equals(by);
        } catch (StorageException e) {
            Damages.kind(e); // a prune has removed it meanwhile, or it is another one by now
            return false;
        }
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
