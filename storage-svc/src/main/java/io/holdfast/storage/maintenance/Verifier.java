package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Maintenance.VerifyResult;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.VmManifest;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Looks whether checkpoints can be restored: manifests and indexes are read, every pack that is needed is looked for with its
 * size, and a part of them is read whole, chunk by chunk. Names the checkpoints that suffer.
 *
 * <p>Memory: 8 bytes per different chunk, one VM manifest, one index, and a pack per thread.
 */
final class Verifier {

    private final Keys keys;
    private final Survey survey;
    private final PackReader reader;
    private final int threads;

    Verifier(Keys keys, Survey survey, PackReader reader, int threads) {
        this.keys = keys;
        this.survey = survey;
        this.reader = reader;
        this.threads = threads;
    }

    /** One verify at work. */
    private static final class Job {
        final Damages damages = new Damages();
        final LongSet wanted = new LongSet();
        final LongSet found = new LongSet();
        /** Checkpoints whose manifests could be read, with the VMs of which. */
        final SortedMap<String, List<VmArchive>> readable = new TreeMap<>();

        final Map<ChunkId, Table> bad = new ConcurrentHashMap<>();
        final Map<ChunkId, String[]> why = new ConcurrentHashMap<>();
        int vms;
    }

    VerifyResult verify(String only, int samplePercent, long seed, Progress progress)
            throws StorageException, InterruptedException {
        Job job = new Job();
        SortedSet<String> checkpoints = only == null ? survey.checkpoints() : new TreeSet<>(List.of(only));
        manifests(job, checkpoints, only != null);
        SortedMap<ChunkId, Stored> packs = survey.packs();
        SortedMap<ChunkId, Table> needed = indexes(job, packs, checkpoints);
        List<Table> sample = sample(needed, packs, samplePercent, seed);
        long total = sample.stream().mapToLong(Table::objectBytes).sum();
        progress.total(total);
        reader.readAll(sample, threads, progress, (t, e) -> {
            job.bad.put(t.id(), t);
            job.why.put(t.id(), new String[] {Damages.kind(e), e.getMessage()});
        });
        sufferers(job);
        return new VerifyResult(
                only,
                samplePercent,
                checkpoints.size(),
                job.vms,
                job.wanted.size(),
                needed.size(),
                sample.size(),
                total,
                job.damages.count() == 0,
                job.damages.list(),
                job.damages.count(),
                job.damages.checkpoints());
    }

    private void manifests(Job job, Collection<String> checkpoints, boolean mustExist) throws StorageException {
        for (String id : checkpoints) {
            CheckpointManifest m;
            try {
                m = survey.checkpoint(id);
            } catch (StorageException e) {
                if (mustExist && e.code() == io.holdfast.schemas.event.ErrorCode.UNKNOWN_CHECKPOINT) {
                    throw e;
                }
                if (e.code() != io.holdfast.schemas.event.ErrorCode.UNKNOWN_CHECKPOINT) { // else forgotten meanwhile
                    job.damages.add(keys.checkpoint(id), Damages.kind(e), e.getMessage(), List.of(id));
                }
                continue;
            }
            var good = new ArrayList<VmArchive>();
            for (VmArchive a : m.vms()) {
                try {
                    Survey.addTo(job.wanted, survey.vm(m, a));
                    good.add(a);
                    job.vms++;
                } catch (StorageException e) {
                    if (survey.checkpoints().contains(id)) { // else forgotten meanwhile
                        job.damages.add(a.manifestKey(), Damages.kind(e), e.getMessage(), List.of(id));
                    }
                }
            }
            job.readable.put(id, good);
        }
    }

    /** The packs that are needed, from the indexes; those that are gone or have another size are noted as bad. */
    private SortedMap<ChunkId, Table> indexes(Job job, SortedMap<ChunkId, Stored> packs, Collection<String> checkpoints)
            throws StorageException {
        var needed = new TreeMap<ChunkId, Table>();
        for (var index : survey.indexes().entrySet()) {
            List<Table> tables;
            try {
                tables = survey.index(index.getKey());
            } catch (StorageException e) {
                if (!survey.indexes().containsKey(index.getKey())) {
                    return indexes(job, survey.packs(), checkpoints); // a prune or rebuild replaced it meanwhile
                }
                job.damages.add(
                        index.getValue().key(),
                        Damages.kind(e),
                        e.getMessage() + "; a rebuild makes it anew",
                        List.of());
                continue;
            }
            for (Table t : tables) {
                boolean some = false;
                for (Entry e : t.entries()) {
                    if (job.wanted.contains(e.id())) {
                        some = true;
                        job.found.add(e.id());
                    }
                }
                if (some) {
                    needed.put(t.id(), t);
                }
            }
        }
        for (Table t : needed.values()) {
            Stored s = packs.get(t.id());
            if (s == null) {
                job.bad.put(t.id(), t);
                job.why.put(t.id(), new String[] {"missing", "object " + keys.pack(t.id()) + ": is missing"});
            } else if (s.bytes() != t.objectBytes()) {
                job.bad.put(t.id(), t);
                job.why.put(t.id(), new String[] {
                    s.bytes() < t.objectBytes() ? "truncated" : "corrupt",
                    "object " + s.key() + ": has " + s.bytes() + " bytes, the index says " + t.objectBytes()
                });
            }
        }
        return needed;
    }

    private List<Table> sample(SortedMap<ChunkId, Table> needed, Map<ChunkId, Stored> packs, int percent, long seed) {
        var list = new ArrayList<Table>();
        for (Table t : needed.values()) {
            Stored s = packs.get(t.id());
            if (s != null && s.bytes() == t.objectBytes()) {
                list.add(t);
            }
        }
        Collections.shuffle(list, new Random(seed));
        int n = (int) Math.ceil(list.size() * (percent / 100.0));
        return List.copyOf(list.subList(0, Math.min(n, list.size())));
    }

    /** Who needs what is bad, or what no index names. */
    private void sufferers(Job job) throws StorageException {
        var badChunks = new TreeMap<ChunkId, LongSet>();
        job.bad.forEach((id, t) -> {
            LongSet set = new LongSet();
            t.entries().forEach(e -> set.add(e.id()));
            badChunks.put(id, set);
        });
        boolean lost = job.found.size() < job.wanted.size();
        if (badChunks.isEmpty() && !lost) {
            return;
        }
        var suffer = new TreeMap<ChunkId, SortedSet<String>>();
        for (var cp : job.readable.entrySet()) {
            CheckpointManifest m = survey.checkpoint(cp.getKey());
            for (VmArchive a : cp.getValue()) {
                VmManifest vm = survey.vm(m, a);
                long[] unindexed = new long[1];
                Survey.chunks(vm, (id, bytes) -> {
                    if (!job.found.contains(id)) {
                        unindexed[0]++;
                    }
                    badChunks.forEach((pack, set) -> {
                        if (set.contains(id)) {
                            suffer.computeIfAbsent(pack, p -> new TreeSet<>()).add(cp.getKey());
                        }
                    });
                });
                if (unindexed[0] > 0) {
                    job.damages.add(
                            a.manifestKey(),
                            "unindexed",
                            "object " + a.manifestKey() + ": " + unindexed[0]
                                    + " chunks of it are in no index; a rebuild finds them where their packs are there",
                            List.of(cp.getKey()));
                }
            }
        }
        for (ChunkId pack : badChunks.keySet()) {
            String[] w = job.why.get(pack);
            job.damages.add(keys.pack(pack), w[0], w[1], suffer.getOrDefault(pack, new TreeSet<>()));
        }
    }
}
