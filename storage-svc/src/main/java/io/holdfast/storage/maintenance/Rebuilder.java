package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Maintenance.RebuildResult;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;

/**
 * Makes index and catalog anew from the bucket alone, and the config from what the service knows, where it is gone. Packs that no readable index names are indexed from their tails; indexes
 * that are broken, or name packs that are gone, are replaced. Every checkpoint is told.
 */
final class Rebuilder {
    /** So many checkpoints are named in the result: half of what a record of Kafka takes. */
    static final int MOST_TOLD = 10_000;

    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;

    Rebuilder(ObjectStore store, Keys keys, Survey survey) {
        this.store = store;
        this.keys = keys;
        this.survey = survey;
    }

    /** Hears of each checkpoint. */
    interface OnCheckpoint {
        void found(String key, String sha256, boolean held, CheckpointManifest manifest);
    }

    RebuildResult rebuild(boolean dryRun, OnCheckpoint each, Progress progress) throws StorageException {
        progress.steps();
        Damages damages = new Damages();
        if (survey.bringBackConfig(dryRun)) {
            damages.add(
                    keys.config(),
                    "missing",
                    "object " + keys.config() + ": is missing; this service " + (dryRun ? "would write" : "has written")
                            + " the one that it knows: look at its keys",
                    List.of());
        } else {
            survey.confirm();
        }
        Set<ChunkId> named = new HashSet<>();
        var perIndex = new java.util.TreeMap<ChunkId, Set<ChunkId>>();
        for (ChunkId index : survey.indexes().keySet()) {
            Set<ChunkId> packs = new HashSet<>();
            perIndex.put(index, packs);
            try {
                survey.index(index, t -> packs.add(t.id()));
                named.addAll(packs);
            } catch (StorageException e) {
                damages.add(keys.index(index), Damages.kind(e), e.getMessage(), List.of());
                packs.add(index); // names nothing that is there: replaced below
            }
        }
        // after the indexes: what they name was stored before, so that a pack missing here is gone
        SortedMap<ChunkId, Stored> packs = survey.packs();
        List<Stored> lost = packs.entrySet().stream()
                // marked ones, too: a mark does not say that nobody needs a chunk of it (ADR 0014)
                .filter(e -> !named.contains(e.getKey()))
                .map(java.util.Map.Entry::getValue)
                .toList();
        Set<String> checkpoints = survey.checkpoints();
        progress.total((long) lost.size() + checkpoints.size());
        List<ChunkId> written = new ArrayList<>();
        int indexed = recover(lost, dryRun, damages, written, progress);
        int removed = replace(perIndex, packs.keySet(), dryRun, written);
        List<String> told = tell(checkpoints, each, damages, progress);
        List<String> first = told.subList(0, Math.min(MOST_TOLD, told.size()));
        return new RebuildResult(
                dryRun,
                packs.size(),
                indexed,
                written.size(),
                removed,
                first,
                damages.list(),
                damages.count(),
                told.size() == first.size() ? null : told.size());
    }

    /** Indexes packs from their tails. */
    private int recover(List<Stored> lost, boolean dryRun, Damages damages, List<ChunkId> written, Progress progress)
            throws StorageException {
        var tables = new ArrayList<Table>();
        long bytes = 0;
        int n = 0;
        for (Stored s : lost) {
            try {
                Table t = tail(s);
                tables.add(t);
                bytes += 36 + (long) PackFormat.ENTRY * t.entries().size();
                n++;
            } catch (StorageException e) {
                damages.add(s.key(), Damages.kind(e), e.getMessage(), List.of());
            }
            if (bytes > Survey.INDEX_BYTES || tables.size() >= Limits.MAX_INDEX_PACKS) {
                flush(tables, dryRun, written);
                bytes = 0;
            }
            progress.add(1);
        }
        flush(tables, dryRun, written);
        return n;
    }

    private void flush(List<Table> tables, boolean dryRun, List<ChunkId> written) throws StorageException {
        if (!tables.isEmpty()) {
            written.add(survey.storeIndex(tables, dryRun));
            tables.clear();
        }
    }

    /** A pack's table, from its end. */
    private Table tail(Stored s) throws StorageException {
        ChunkId id = ChunkId.parse(s.key().substring(keys.packs().length()));
        if (s.bytes() < PackFormat.HEADER + PackFormat.TRAILER || s.bytes() > Limits.MAX_PACK) {
            throw StorageException.corrupt(s.key(), "too short or too long for a pack: " + s.bytes() + " bytes");
        }
        byte[] trailer = new byte[PackFormat.TRAILER];
        store.getRange(s.key(), s.bytes() - trailer.length, trailer, 0, trailer.length);
        int length = PackFormat.tailLength(s.key(), trailer);
        if (length > s.bytes()) {
            throw StorageException.corrupt(s.key(), "too short for its table");
        }
        byte[] tail = new byte[length];
        store.getRange(s.key(), s.bytes() - length, tail, 0, length);
        return PackFormat.readTable(s.key(), id, tail, 0, length, s.bytes(), survey.vault());
    }

    /**
     * Replaces indexes that are broken or name packs that are gone: the new one first. An index of the same packs has the same name:
     * where a broken one was, a whole one is now, and stays.
     */
    private int replace(
            java.util.Map<ChunkId, Set<ChunkId>> perIndex, Set<ChunkId> packs, boolean dryRun, List<ChunkId> written)
            throws StorageException {
        int n = 0;
        for (var e : perIndex.entrySet()) {
            if (packs.containsAll(e.getValue()) || written.contains(e.getKey())) {
                continue;
            }
            n++;
            boolean readable = !e.getValue().contains(e.getKey());
            if (readable) {
                written.addAll(survey.storeStaying(e.getKey(), packs::contains, dryRun));
            }
            if (!dryRun) {
                store.delete(keys.index(e.getKey()));
            }
        }
        return n;
    }

    private List<String> tell(Set<String> checkpoints, OnCheckpoint each, Damages damages, Progress progress)
            throws StorageException {
        Set<String> held = survey.holds();
        var told = new ArrayList<String>();
        for (String id : checkpoints) {
            try {
                byte[] data = store.get(keys.checkpoint(id), Limits.MAX_CHECKPOINT_MANIFEST + Vault.OBJECT_OVERHEAD);
                each.found(keys.checkpoint(id), ChunkId.of(data).hex(), held.contains(id), survey.checkpoint(id));
                told.add(id);
            } catch (StorageException e) {
                if (survey.checkpoints().contains(id)) {
                    damages.add(keys.checkpoint(id), Damages.kind(e), e.getMessage(), List.of(id));
                }
            }
            progress.add(1);
        }
        return told;
    }
}
