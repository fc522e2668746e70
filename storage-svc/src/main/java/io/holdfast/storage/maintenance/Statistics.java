package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Maintenance.InstanceStats;
import io.holdfast.schemas.event.Maintenance.StatsResult;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.VmManifest;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/** Counts what the repository holds. Reads manifests and indexes, no pack. */
final class Statistics {
    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;

    Statistics(ObjectStore store, Keys keys, Survey survey) {
        this.store = store;
        this.keys = keys;
        this.survey = survey;
    }

    /** What is needed of a checkpoint's manifest. */
    private record Archived(String checkpoint, List<VmArchive> vms) {}

    private static final class Sum {
        int checkpoints;
        long logical;
        long data;
        long unique;
    }

    /**
     * Counts.
     *
     * @param instance of the lines by instance only that one, or null: all; the sums are always of the whole repository
     */
    StatsResult count(String instance, Progress progress) throws StorageException {
        progress.steps();
        var checkpoints = survey.checkpoints();
        progress.total(checkpoints.size());
        LongSet wanted = survey.chunkSet();
        long[] unique = new long[1];
        int vms = 0;
        var byInstance = new TreeMap<String, List<Archived>>();
        for (String id : checkpoints) {
            CheckpointManifest m = survey.checkpoint(id);
            byInstance.computeIfAbsent(m.instance(), k -> new ArrayList<>()).add(new Archived(id, m.vms()));
            progress.add(1);
        }
        var instances = new ArrayList<InstanceStats>();
        Sum all = new Sum();
        for (var e : byInstance.entrySet()) {
            Sum sum = new Sum();
            LongSet seen = survey.chunkSet();
            for (Archived m : e.getValue()) {
                sum.checkpoints++;
                for (VmArchive a : m.vms()) {
                    VmManifest vm = survey.vm(m.checkpoint(), a);
                    vms++;
                    sum.logical += vm.logicalBytes();
                    sum.data += vm.dataBytes();
                    Survey.chunks(vm, (id, bytes) -> {
                        if (seen.add(id)) {
                            sum.unique += bytes;
                        }
                        if (wanted.add(id)) {
                            unique[0] += bytes;
                        }
                    });
                }
            }
            seen.close();
            all.checkpoints += sum.checkpoints;
            all.logical += sum.logical;
            all.data += sum.data;
            if (instance == null || instance.equals(e.getKey())) {
                instances.add(new InstanceStats(e.getKey(), sum.checkpoints, sum.logical, sum.data, sum.unique));
            }
        }
        return objects(all, unique[0], vms, wanted, instances);
    }

    private StatsResult objects(Sum all, long unique, int vms, LongSet wanted, List<InstanceStats> instances)
            throws StorageException {
        long stored = 0;
        for (Stored s : store.list(keys.prefix())) {
            stored += s.bytes();
        }
        SortedMap<ChunkId, Stored> packs = survey.packs();
        SortedMap<ChunkId, Stored> indexes = survey.indexes();
        var needed = new TreeMap<ChunkId, Long>();
        for (ChunkId index : indexes.keySet()) {
            survey.index(index, t -> {
                Stored pack = packs.get(t.id());
                if (pack != null && t.entries().stream().anyMatch(entry -> wanted.contains(entry.id()))) {
                    needed.put(t.id(), pack.bytes());
                }
            });
        }
        long neededBytes = needed.values().stream().mapToLong(Long::longValue).sum();
        long packBytes = packs.values().stream().mapToLong(Stored::bytes).sum();
        return new StatsResult(
                all.checkpoints,
                vms,
                all.logical,
                all.data,
                unique,
                stored,
                neededBytes,
                packBytes - neededBytes,
                all.data == 0 ? 0 : Math.round(100.0 * stored / all.data),
                wanted.size(),
                packs.size(),
                indexes.size(),
                instances);
    }
}
