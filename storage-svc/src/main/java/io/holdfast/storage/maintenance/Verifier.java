package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Maintenance.VerifyResult;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.VmManifest;
import io.holdfast.storage.maintenance.PackReader.Pack;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Looks whether checkpoints can be restored: the config, manifests, indexes and notes of garbage collection are read, every pack that is needed is looked for with its
 * size, and a part of them is read whole, chunk by chunk. A pack that is gone does no harm where others have its chunks. Names the checkpoints that suffer.
 *
 * <p>Memory: some 250 bytes per pack, and a pack per thread. Sets of chunks are in mapped files.
 */
final class Verifier {

    private final Keys keys;
    private final Survey survey;
    private final Leases leases;
    private final PackReader reader;
    private final int threads;

    Verifier(Keys keys, Survey survey, Leases leases, PackReader reader, int threads) {
        this.leases = leases;
        this.keys = keys;
        this.survey = survey;
        this.reader = reader;
        this.threads = threads;
    }

    /** One verify at work. */
    private final class Job {
        final Damages damages = new Damages();
        final LongSet wanted = survey.chunkSet();
        /** Chunks that a pack has which is there, with its size. */
        LongSet found = survey.chunkSet();
        /** Checkpoints whose manifests could be read, with the VMs of which. */
        final SortedMap<String, List<VmArchive>> readable = new TreeMap<>();

        /** Packs that an index names and that are gone, or have another size. No harm if others have their chunks. */
        final Map<ChunkId, Pack> gone = new TreeMap<>();

        /** What is wrong with which index, by the last look at them. */
        final Map<String, StorageException> badIndexes = new TreeMap<>();

        /** What is wrong with which pack. */
        final Map<ChunkId, String[]> bad = new ConcurrentHashMap<>();

        /** Packs that were gone when they were to be read: a prune may have moved what is needed of them. */
        final Set<ChunkId> moved = ConcurrentHashMap.newKeySet();

        int vms;
    }

    VerifyResult verify(String only, int samplePercent, long seed, Progress progress)
            throws StorageException, InterruptedException {
        Job job = new Job();
        SortedSet<String> checkpoints = only == null ? survey.checkpoints() : new TreeSet<>(List.of(only));
        manifests(job, checkpoints, only != null);
        try {
            survey.confirm();
        } catch (StorageException e) { // nothing can be restored without it once the services have ended
            job.damages.add(keys.config(), Damages.kind(e), e.getMessage(), checkpoints);
        }
        leases.check((key, e) -> job.damages.add(
                key,
                "corrupt",
                e.getMessage() + "; until it is gone there is no archive and no prune; " + e.remedy(),
                List.of()));
        SortedMap<ChunkId, Stored> packs = survey.packs();
        SortedMap<ChunkId, Pack> needed = indexes(job, packs);
        List<Pack> sample = sample(needed, samplePercent, seed);
        int lookedFor = needed.size() + job.bad.size();
        long total = sample.stream().mapToLong(Pack::bytes).sum();
        progress.total(total);
        reader.readAll(sample, threads, progress, (p, e) -> {
            if (e.isMissing()) {
                job.moved.add(p.id());
            } else {
                job.bad.put(p.id(), new String[] {Damages.kind(e), e.getMessage()});
            }
        });
        if (!job.moved.isEmpty()) {
            indexes(job, survey.packs()); // which of them matter still
        }
        for (var bad : job.badIndexes.entrySet()) {
            StorageException e = bad.getValue();
            job.damages.add(bad.getKey(), Damages.kind(e), e.getMessage() + "; a rebuild makes it anew", List.of());
        }
        sufferers(job);
        return new VerifyResult(
                only,
                samplePercent,
                checkpoints.size(),
                job.vms,
                job.wanted.size(),
                lookedFor,
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
                    Survey.addTo(job.wanted, survey.vm(id, a));
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

    /** The packs that are needed and there, from the indexes; those that are gone or have another size, and matter, are noted as bad. */
    private SortedMap<ChunkId, Pack> indexes(Job job, SortedMap<ChunkId, Stored> packs) throws StorageException {
        var needed = new TreeMap<ChunkId, Pack>();
        job.gone.clear();
        job.badIndexes.clear();
        job.found = survey.chunkSet();
        for (var index : survey.indexes().entrySet()) {
            try {
                survey.index(index.getKey(), t -> {
                    Stored s = packs.get(t.id());
                    boolean there = s != null && s.bytes() == t.objectBytes();
                    boolean some = false;
                    for (Entry e : t.entries()) {
                        if (job.wanted.contains(e.id())) {
                            some = true;
                            if (!there) {
                                break;
                            }
                            job.found.add(e.id());
                        }
                    }
                    if (some) {
                        (there ? needed : job.gone).put(t.id(), Pack.of(t));
                    }
                });
            } catch (StorageException e) {
                if (!survey.indexes().containsKey(index.getKey())) {
                    return indexes(job, survey.packs()); // a prune or rebuild replaced it meanwhile
                }
                Damages.kind(e); // else no damage, but no answer
                job.badIndexes.put(index.getValue().key(), e);
            }
        }
        if (!job.gone.isEmpty() && job.found.size() < job.wanted.size()) {
            for (ChunkId index : survey.indexes().keySet()) {
                try {
                    survey.index(index, t -> {
                        Pack p = job.gone.get(t.id());
                        if (p != null && t.entries().stream().anyMatch(e -> lost(job, e.id()))) {
                            bad(job, p, packs.get(t.id()));
                        }
                    });
                } catch (StorageException e) {
                    Damages.kind(e); // broken, as was told already, or replaced meanwhile
                }
            }
        }
        return needed;
    }

    private static boolean lost(Job job, ChunkId chunk) {
        return job.wanted.contains(chunk) && !job.found.contains(chunk);
    }

    private void bad(Job job, Pack p, Stored s) {
        job.bad.put(
                p.id(),
                s == null
                        ? new String[] {"missing", "object " + keys.pack(p.id()) + ": is missing"}
                        : new String[] {
                            s.bytes() < p.bytes() ? "truncated" : "corrupt",
                            "object " + s.key() + ": has " + s.bytes() + " bytes, the index says " + p.bytes()
                        });
    }

    private static List<Pack> sample(SortedMap<ChunkId, Pack> needed, int percent, long seed) {
        var list = new ArrayList<>(needed.values());
        Collections.shuffle(list, new Random(seed));
        int n = (int) Math.ceil(list.size() * (percent / 100.0));
        return List.copyOf(list.subList(0, Math.min(n, list.size())));
    }

    /** The chunks of bad packs: of so many packs as a report names each for itself, of the others together. */
    private SortedMap<ChunkId, LongSet> badChunks(Job job, LongSet others) throws StorageException {
        var named = new TreeMap<ChunkId, LongSet>();
        if (job.bad.isEmpty()) {
            return named;
        }
        new TreeSet<>(job.bad.keySet()).stream().limit(Damages.MOST).forEach(p -> named.put(p, survey.chunkSet()));
        for (ChunkId index : survey.indexes().keySet()) {
            try {
                survey.index(index, t -> {
                    if (job.bad.containsKey(t.id())) {
                        LongSet set = named.getOrDefault(t.id(), others);
                        boolean gone = job.gone.containsKey(t.id());
                        for (Entry e : t.entries()) {
                            if (!gone || lost(job, e.id())) { // a restore finds it where it is there
                                set.add(e.id());
                            }
                        }
                    }
                });
            } catch (StorageException e) {
                Damages.kind(e); // broken, as was told already, or replaced meanwhile
            }
        }
        return named;
    }

    /** Who needs what is bad, or what no index names. */
    private void sufferers(Job job) throws StorageException {
        LongSet others = survey.chunkSet();
        SortedMap<ChunkId, LongSet> badChunks = badChunks(job, others);
        boolean lost = job.found.size() < job.wanted.size();
        if (badChunks.isEmpty() && !lost) {
            return;
        }
        var suffer = new TreeMap<ChunkId, SortedSet<String>>();
        var sufferOthers = new TreeSet<String>();
        for (var cp : job.readable.entrySet()) {
            for (VmArchive a : cp.getValue()) {
                VmManifest vm;
                try {
                    vm = survey.vm(cp.getKey(), a);
                } catch (StorageException e) {
                    if (survey.checkpoints().contains(cp.getKey())) {
                        throw e;
                    }
                    break; // forgotten meanwhile
                }
                long[] unindexed = new long[1];
                Survey.chunks(vm, (id, bytes) -> {
                    boolean indexed = job.found.contains(id);
                    for (var b : badChunks.entrySet()) {
                        if (b.getValue().contains(id)) {
                            suffer.computeIfAbsent(b.getKey(), p -> new TreeSet<>())
                                    .add(cp.getKey());
                            indexed = true;
                        }
                    }
                    if (others.contains(id)) {
                        sufferOthers.add(cp.getKey());
                        indexed = true;
                    }
                    if (!indexed) {
                        unindexed[0]++;
                    }
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
        new TreeMap<>(job.bad)
                .forEach((pack, why) -> job.damages.add(
                        keys.pack(pack),
                        why[0],
                        why[1],
                        badChunks.containsKey(pack) ? suffer.getOrDefault(pack, new TreeSet<>()) : sufferOthers));
    }
}
