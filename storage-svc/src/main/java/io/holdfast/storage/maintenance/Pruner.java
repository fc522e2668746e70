package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.Mark;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.maintenance.Survey.VmObject;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import org.jboss.logging.Logger;

/**
 * Deletes what no checkpoint needs, while uploads, restores and other collectors are at work, with no lock. What nobody needs
 * is first marked; it is deleted by a prune that finds the mark older than the grace period and still nobody who needs it.
 * The argument why that is safe is in docs/formats.md; the test that breaks when a part of it is left out is
 * {@code ConcurrentMaintenanceTest}.
 *
 * <p>Packs of which little is needed, and small ones, are rewritten: what is needed of them is copied into new packs, and they are marked. A marked pack of
 * which something is needed is deleted like the others, if for each such chunk there is a pack that has it and that can be counted
 * on: as an upload may count on it, there, neither marked nor about to be deleted by anybody.
 *
 * <p>All ages are differences of times that the S3 server gave. If any manifest or index cannot be read, nothing is deleted.
 */
class Pruner {
    private static final Logger LOG = Logger.getLogger(Pruner.class);
    private static final long ROUNDING = 2;
    /** So many small packs are joined although they do not fill one. */
    private static final int MANY_SMALL = 10;

    private static final Duration RUN_KEPT = Duration.ofDays(1);

    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;
    private final Leases leases;
    private final Duration grace;
    private final Keeper.Repack policy;
    /** So many notes may tell what is about to be deleted. */
    private int sweeps = 1;

    Pruner(ObjectStore store, Keys keys, Survey survey, Leases leases, Duration grace, Keeper.Repack policy) {
        this.policy = policy;
        this.store = store;
        this.keys = keys;
        this.survey = survey;
        this.leases = leases;
        this.grace = grace;
    }

    /** What is known of a pack from the indexes. */
    private static final class Use {
        long liveBytes;
        long deadBytes;
        int liveChunks;
        int chunks;
        /** Size that the pack must have. */
        long objectBytes;

        boolean live() {
            return liveBytes > 0;
        }
    }

    /** One prune at work. */
    final class Job {
        private final Map<ChunkId, Use> uses = new HashMap<>();
        /** Of each index the first 64 bits of its packs' ids: enough to know whether it may have to be replaced. */
        final Map<ChunkId, long[]> indexesOf = new HashMap<>();

        final LongSet live = survey.chunkSet();
        /** Those of them that an index names. */
        final LongSet indexed = survey.chunkSet();

        final List<VmObject> orphans = new ArrayList<>();
        SortedMap<ChunkId, Stored> packs = new TreeMap<>();
        List<Leases.Found> marks = List.of();
        final Map<ChunkId, Instant> markedPacks = new HashMap<>();
        /** Packs that a prune is about to delete. */
        final Set<ChunkId> swept = new HashSet<>();

        /** Packs to be rewritten, and their bytes. */
        final Set<ChunkId> chosen = new HashSet<>();

        long rewritten;

        /** Packs that are not as they should be, and of which all that is needed is in others that can be counted on. */
        final Set<ChunkId> spare = new HashSet<>();

        /** Of the chunks that are needed in packs that are chosen, marked or not whole: those that others have. */
        ChunkIndex elsewhere;

        /** Bytes of needed chunks in chosen packs that no other pack has. */
        long toCopy;

        /** So long the bucket keeps every object, of itself. */
        Duration retention = Duration.ZERO;

        final Map<String, Instant> markedManifests = new HashMap<>();

        /** Times are whole seconds, rounded down: two of margin. */
        boolean old(Instant modified, Instant now) {
            return !modified.plus(grace).plusSeconds(ROUNDING).isAfter(now);
        }

        boolean live(ChunkId pack) {
            Use use = uses.get(pack);
            return use != null && use.live();
        }

        /** Whether it is there with its size. */
        boolean whole(ChunkId pack) {
            Stored s = packs.get(pack);
            Use use = uses.get(pack);
            return s != null && (use == null || use.objectBytes == s.bytes());
        }

        /** Whether no index names it while one that names needed chunks is lost: what it has may be just those, until a rebuild. */
        boolean unknown(ChunkId pack) {
            return !uses.containsKey(pack) && indexed.size() < live.size();
        }

        /** Whether something in it is needed that may be nowhere else. */
        boolean needed(ChunkId pack) {
            return live(pack) && !spare.contains(pack);
        }
    }

    PruneResult prune(boolean dryRun, Progress progress) throws StorageException {
        if (dryRun) { // changes nothing in the bucket, also no note
            return prune(true, "", store.time(keys.config()), progress);
        }
        String run = UUID.randomUUID().toString();
        String runKey = keys.gc() + "run-" + run;
        byte[] note = run.getBytes(StandardCharsets.UTF_8);
        store.put(runKey, note, 0, note.length);
        try {
            return prune(false, run, serverTime(runKey), progress);
        } finally {
            // from here on this prune deletes nothing
            for (int i = 0; i < sweeps; i++) {
                store.delete(note("sweep-" + run, i));
            }
            store.delete(runKey);
        }
    }

    /** The S3 server's time. */
    private Instant serverTime(String runKey) throws StorageException {
        Instant now = null;
        var stale = new ArrayList<Stored>();
        for (Stored s : store.list(keys.gc())) {
            if (s.key().equals(runKey)) {
                now = s.modified();
            } else if (!s.key().startsWith(keys.gc() + "mark-")) {
                stale.add(s);
            }
        }
        if (now == null) {
            throw StorageException.corrupt(runKey, "is missing right after it was written");
        }
        for (Stored s : stale) {
            if (s.modified().plus(RUN_KEPT).plus(grace).isBefore(now)) {
                store.delete(s.key());
            }
        }
        return now;
    }

    private PruneResult prune(boolean dryRun, String run, Instant now, Progress progress) throws StorageException {
        Job job = new Job();
        job.marks = leases.marks();
        for (Leases.Found f : job.marks) {
            f.mark().packs().forEach(p -> job.markedPacks.merge(ChunkId.parse(p), f.since(), Pruner::earlier));
            f.mark().manifests().forEach(m -> job.markedManifests.merge(m, f.since(), Pruner::earlier));
        }
        // marks, then sweeps, as uploads look: see Leases
        for (Leases.Found f : leases.sweeps()) {
            f.mark().packs().forEach(p -> job.swept.add(ChunkId.parse(p)));
        }
        roots(job, now, progress);
        indexes(job);
        // after the indexes: what they name was stored before, so that a pack missing here is gone
        job.packs = survey.packs();
        job.retention = store.retention();
        choose(job, now);
        spare(job);

        var toMark = new ArrayList<ChunkId>();
        var toDelete = new ArrayList<ChunkId>();
        var waiting = new ArrayList<ChunkId>();
        Instant next = null;
        int livePacks = 0;
        long liveBytes = 0;
        long deadBytes = 0;
        var toRepack = new ArrayList<ChunkId>();
        int unknown = 0;
        for (var e : job.packs.entrySet()) {
            Instant since = job.markedPacks.get(e.getKey());
            if (job.unknown(e.getKey())) {
                unknown++;
            } else if (job.chosen.contains(e.getKey())) {
                toRepack.add(e.getKey());
            } else if (job.needed(e.getKey())) {
                livePacks++;
                liveBytes += e.getValue().bytes();
                deadBytes += job.uses.get(e.getKey()).deadBytes;
            } else if (since != null) {
                Instant at = since.plus(grace);
                if (job.old(since, now)) {
                    // a delete would hide what the bucket keeps anyhow
                    at = lockedUntil(job, e.getValue(), now);
                }
                if (job.old(since, now) && !at.isAfter(now)) {
                    toDelete.add(e.getKey());
                } else {
                    waiting.add(e.getKey());
                    next = next == null ? at : earlier(next, at);
                }
            } else if (job.old(e.getValue().modified(), now)) {
                toMark.add(e.getKey());
            }
        }
        if (unknown > 0) {
            LOG.warnf(
                    "event=unindexed-packs-kept packs=%d needed-chunks-in-no-index=%d remedy=\"verify; rebuild; then prune again\"",
                    unknown, job.live.size() - job.indexed.size());
        }
        var orphansToMark = new ArrayList<VmObject>();
        var orphansToDelete = new ArrayList<VmObject>();
        for (VmObject o : job.orphans) {
            Instant since = job.markedManifests.get(name(o));
            if (since == null) {
                orphansToMark.add(o);
            } else if (job.old(since, now)) {
                orphansToDelete.add(o);
            } else {
                next = next == null ? since.plus(grace) : earlier(next, since.plus(grace));
            }
        }
        if (next == null && !(toMark.isEmpty() && orphansToMark.isEmpty() && toRepack.isEmpty())) {
            next = now.plus(grace);
        }
        int rewritten = 0;
        int deletedManifests = orphansToDelete.size();
        var repacked = new Repacker.Done(List.copyOf(toRepack), job.toCopy);
        if (!dryRun) {
            mark(run, toMark, orphansToMark);
            toDelete.retainAll(announced(job, run, toDelete, now));
            rewritten = rewriteIndexes(job, toDelete);
            for (ChunkId p : toDelete) {
                store.delete(keys.pack(p));
            }
            deletedManifests = deleteOrphans(orphansToDelete);
            cleanMarks(job, toDelete, orphansToDelete);
            cleanGone(job, now);
            cleanHolds(job, now);
            // last, when space was made; the packs are marked when indexes name all that was copied, and not before
            repacked = repack(job, run, toRepack, progress);
            toRepack.removeAll(new HashSet<>(repacked.emptied()));
            for (ChunkId broken : toRepack) {
                livePacks++;
                liveBytes += job.packs.get(broken).bytes();
                deadBytes += job.uses.get(broken).deadBytes;
            }
            LOG.infof(
                    "event=pruned marked=%d waiting=%d deleted=%d manifests=%d indexes=%d repacked=%d",
                    toMark.size(),
                    waiting.size(),
                    toDelete.size(),
                    deletedManifests,
                    rewritten,
                    repacked.emptied().size());
        }
        return new PruneResult(
                dryRun,
                livePacks,
                liveBytes,
                deadBytes,
                toMark.size(),
                bytes(job, toMark),
                waiting.size(),
                bytes(job, waiting),
                toDelete.size(),
                bytes(job, toDelete),
                deletedManifests,
                rewritten,
                repacked.emptied().size(),
                bytes(job, repacked.emptied()),
                repacked.newBytes(),
                grace.toSeconds(),
                next);
    }

    /**
     * Until when the bucket keeps an object, or now. One that the bucket keeps of itself is not asked for: a request for each pack at each prune would
     * be most of it. (Where such a retention is younger than the object, it is only deleted later.)
     */
    private Instant lockedUntil(Job job, Stored object, Instant now) throws StorageException {
        Instant kept = object.modified().plus(job.retention);
        return kept.isAfter(now) ? kept : store.lockedUntil(object.key()).orElse(now);
    }

    private static Instant earlier(Instant a, Instant b) {
        return a.isBefore(b) ? a : b;
    }

    private static long bytes(Job job, Collection<ChunkId> packs) {
        return packs.stream().mapToLong(p -> job.packs.get(p).bytes()).sum();
    }

    /** A VM manifest's key below the prefix. */
    private String name(VmObject o) {
        return o.stored().key().substring(keys.prefix().length());
    }

    /** Every chunk that is needed: by checkpoints, and by VM manifests so young that their commit may be to come. */
    private void roots(Job job, Instant now, Progress progress) throws StorageException {
        progress.steps();
        Set<String> checkpoints = survey.checkpoints();
        progress.total(checkpoints.size() + 1L);
        for (String id : checkpoints) {
            CheckpointManifest m;
            try {
                m = survey.checkpoint(id);
                for (VmArchive a : m.vms()) {
                    Survey.addTo(job.live, survey.vm(m, a));
                }
            } catch (StorageException e) {
                if (survey.checkpoints().contains(id)) {
                    throw refused(e);
                }
                // forgotten meanwhile
            }
            progress.add(1);
        }
        for (VmObject o : survey.vms()) {
            if (checkpoints.contains(o.checkpoint())) {
                continue;
            }
            if (job.old(o.stored().modified(), now)) {
                job.orphans.add(o);
                continue;
            }
            try {
                Survey.addTo(job.live, survey.orphan(o));
            } catch (StorageException e) {
                if (store.size(o.stored().key()).isPresent()) {
                    throw refused(e);
                }
            }
        }
        progress.add(1);
    }

    private static StorageException refused(StorageException e) {
        return new StorageException(
                e.code(),
                "nothing was pruned, because what is needed is not known: " + e.getMessage(),
                "verify; forget the broken checkpoint, or rebuild a broken index; then prune again",
                e);
    }

    private void indexes(Job job) throws StorageException {
        for (ChunkId index : survey.indexes().keySet()) {
            var packs = LongStream.builder();
            tables(index, t -> {
                packs.add(t.id().a());
                use(job, t);
            });
            job.indexesOf.put(index, packs.build().toArray());
        }
    }

    private void tables(ChunkId index, IndexFormat.EachTable each) throws StorageException {
        try {
            survey.index(index, each);
        } catch (StorageException e) {
            if (survey.indexes().containsKey(index)) {
                throw refused(e);
            }
            throw new StorageException(
                    ErrorCode.REPOSITORY_BUSY,
                    "index " + index + " was replaced meanwhile: another prune or rebuild is at work",
                    "prune again when it has ended",
                    e);
        }
    }

    private static void use(Job job, Table t) throws StorageException {
        Use use = job.uses.computeIfAbsent(t.id(), k -> new Use());
        long live = 0;
        long dead = 0;
        int chunks = 0;
        for (Entry e : t.content()) {
            if (job.live.contains(e.id())) {
                boolean ignored = job.indexed.add(e.id());
                live += e.storedBytes();
                chunks++;
            } else {
                dead += e.storedBytes();
            }
        }
        use.liveBytes = live;
        use.deadBytes = dead;
        use.liveChunks = chunks;
        use.chunks = t.content().size();
        use.objectBytes = t.objectBytes();
    }

    /** Whether what that pack has need not be anywhere else: it is there, and nobody before a grace period from now may delete it. */
    boolean staysFor(Job job, ChunkId pack) {
        return job.whole(pack) && !job.markedPacks.containsKey(pack) && !job.swept.contains(pack);
    }

    /**
     * Chooses packs to be rewritten. Young ones are left alone: an upload that is under way may need what nobody needs yet. So are those that the
     * bucket retains: they could not be deleted, and to copy them would only cost space.
     */
    private void choose(Job job, Instant now) throws StorageException {
        if (policy.mostBytes() == 0) {
            return;
        }
        long all = 0;
        long dead = 0;
        var old = new ArrayList<ChunkId>();
        for (var e : job.packs.entrySet()) {
            ChunkId pack = e.getKey();
            if (!job.live(pack) || !staysFor(job, pack)) {
                continue;
            }
            all += e.getValue().bytes();
            dead += job.uses.get(pack).deadBytes;
            if (job.old(e.getValue().modified(), now)) {
                old.add(pack);
            }
        }
        chooseLittleNeeded(job, old, all, dead, now);
        chooseSmall(job, old, now);
    }

    /** Those of which the least is needed first, until of all that is left no larger part is needed by nobody than may be. */
    private void chooseLittleNeeded(Job job, List<ChunkId> old, long all, long dead, Instant now)
            throws StorageException {
        old.sort(Comparator.comparingDouble(p -> {
            Use use = job.uses.get(p);
            return (double) use.liveBytes / (use.liveBytes + use.deadBytes);
        }));
        for (ChunkId pack : old) {
            Stored s = job.packs.get(pack);
            Use use = job.uses.get(pack);
            if (use.deadBytes == 0
                    || dead <= all / 100.0 * policy.maxUnusedPercent()
                    || (job.rewritten + s.bytes() > policy.mostBytes() && !job.chosen.isEmpty())) {
                return; // what is left is for another prune
            }
            if (lockedUntil(job, s, now).isAfter(now)) {
                continue;
            }
            job.chosen.add(pack);
            job.rewritten += s.bytes();
            dead -= use.deadBytes;
            all -= use.deadBytes;
        }
    }

    /**
     * Those that are small, when they fill a pack together or are many: of small ones at most one is left then, so no prune writes the same again for
     * nothing. A pack that is full of chunks is not small, however few bytes it has.
     */
    private void chooseSmall(Job job, List<ChunkId> old, Instant now) throws StorageException {
        var small = new ArrayList<ChunkId>();
        for (ChunkId pack : old) {
            Use use = job.uses.get(pack);
            if (!job.chosen.contains(pack)
                    && policy.filled(use.objectBytes, use.chunks) * 100 < policy.smallPercent()) {
                small.add(pack);
            }
        }
        if (!worthJoining(job, small)) {
            return; // without a request
        }
        small.sort(Comparator.comparingLong(p -> job.packs.get(p).bytes()));
        var joined = new ArrayList<ChunkId>();
        long bytes = job.rewritten;
        for (ChunkId pack : small) {
            Stored s = job.packs.get(pack);
            if (bytes + s.bytes() > policy.mostBytes()) {
                break;
            }
            if (!lockedUntil(job, s, now).isAfter(now)) {
                joined.add(pack);
                bytes += s.bytes();
            }
        }
        if (worthJoining(job, joined)) {
            job.chosen.addAll(joined);
            job.rewritten = bytes;
        }
    }

    private boolean worthJoining(Job job, List<ChunkId> small) {
        double filled = small.stream()
                .map(job.uses::get)
                .mapToDouble(use -> policy.filled(use.liveBytes, use.liveChunks))
                .sum();
        return small.size() >= MANY_SMALL || (small.size() > 1 && filled >= 1);
    }

    /** Looks, for packs that are marked or not whole and yet needed, and for those that are chosen, what of them other packs have. */
    private void spare(Job job) throws StorageException {
        var doubtful = new HashSet<ChunkId>();
        for (ChunkId pack : job.packs.keySet()) {
            if (job.live(pack)
                    && !job.chosen.contains(pack)
                    && (job.markedPacks.containsKey(pack) || !job.whole(pack))) {
                doubtful.add(pack);
            }
        }
        if (doubtful.isEmpty() && job.chosen.isEmpty()) {
            return;
        }
        // by whole ids: a set by 64 bits keeps too much, here it would keep too little
        ChunkIndex wanted = survey.chunkIndex();
        job.elsewhere = survey.chunkIndex();
        for (ChunkId index : indexesOf(job, doubtful, job.chosen)) {
            tables(index, t -> {
                if (doubtful.contains(t.id()) || job.chosen.contains(t.id())) {
                    wanted.add(part(t, e -> job.live.contains(e.id())));
                }
            });
        }
        for (ChunkId index : job.indexesOf.keySet()) {
            tables(index, t -> {
                if (staysFor(job, t.id()) && !job.chosen.contains(t.id())) {
                    Table others = part(t, e -> wanted.contains(e.id()));
                    if (!others.entries().isEmpty()) {
                        job.elsewhere.add(others);
                    }
                }
            });
        }
        job.spare.addAll(doubtful);
        LongSet copied = survey.chunkSet(); // each is copied once, in however many of them it is
        for (ChunkId index : indexesOf(job, doubtful, job.chosen)) {
            tables(index, t -> {
                boolean chosen = job.chosen.contains(t.id());
                if (!chosen && !doubtful.contains(t.id())) {
                    return;
                }
                for (Entry e : t.content()) {
                    if (job.live.contains(e.id()) && !job.elsewhere.contains(e.id())) {
                        job.spare.remove(t.id());
                        job.toCopy += chosen && copied.add(e.id()) ? e.storedBytes() : 0;
                    }
                }
            });
        }
    }

    private static Table part(Table t, Predicate<Entry> which) {
        return new Table(t.id(), t.content().stream().filter(which).toList());
    }

    /** Indexes that may name one of those packs. */
    private static List<ChunkId> indexesOf(Job job, Set<ChunkId> some, Set<ChunkId> others) {
        var beginnings = new HashSet<Long>();
        some.forEach(p -> beginnings.add(p.a()));
        others.forEach(p -> beginnings.add(p.a()));
        return job.indexesOf.entrySet().stream()
                .filter(e -> LongStream.of(e.getValue()).anyMatch(beginnings::contains))
                .map(Map.Entry::getKey)
                .toList();
    }

    /** Rewrites packs: new packs, then their index, then the mark on the old ones. */
    private Repacker.Done repack(Job job, String run, List<ChunkId> packs, Progress progress) throws StorageException {
        if (packs.isEmpty()) {
            return new Repacker.Done(List.of(), 0);
        }
        progress.total(progress.total() + packs.size());
        var done = new Repacker(store, keys, survey, policy).empty(packs, job.live, job.elsewhere, progress);
        mark(run + "-repacked", done.emptied(), List.of());
        return done;
    }

    private void mark(String run, List<ChunkId> packs, List<VmObject> orphans) throws StorageException {
        List<String> ids = packs.stream().map(ChunkId::hex).toList();
        write("mark-" + run, Mark.of(ids, orphans.stream().map(this::name).toList()));
    }

    private void write(String name, List<Mark> notes) throws StorageException {
        for (int i = 0; i < notes.size(); i++) {
            byte[] data = notes.get(i).encode();
            store.put(note(name, i), data, 0, data.length);
        }
    }

    private String note(String name, int part) {
        return keys.gc() + name + (part == 0 ? "" : "-" + part);
    }

    /**
     * Tells what is about to be deleted, and looks again whether it is still marked as long ago: another prune may have taken a
     * mark away, after which an upload may rely on the pack. Whoever reads first marks and then sweeps sees one of the two, or
     * is seen here.
     */
    private Set<ChunkId> announced(Job job, String run, List<ChunkId> packs, Instant now) throws StorageException {
        Set<ChunkId> still = new HashSet<>();
        if (packs.isEmpty()) {
            return still;
        }
        List<Mark> notes = Mark.of(packs.stream().map(ChunkId::hex).toList(), List.of());
        sweeps = notes.size();
        write("sweep-" + run, notes);
        for (Leases.Found f : leases.marks()) {
            if (job.old(f.since(), now)) {
                f.mark().packs().forEach(p -> still.add(ChunkId.parse(p)));
            }
        }
        return still;
    }

    /** Replaces the indexes that name packs that go, or that are gone: the new one first. */
    private int rewriteIndexes(Job job, List<ChunkId> deleted) throws StorageException {
        Set<ChunkId> go = new HashSet<>(deleted);
        LongSet stay = survey.chunkSet();
        for (ChunkId p : job.packs.keySet()) {
            if (!go.contains(p)) {
                stay.add(p);
            }
        }
        int n = 0;
        for (var e : job.indexesOf.entrySet()) {
            if (LongStream.of(e.getValue()).allMatch(stay::contains)) {
                continue;
            }
            try {
                survey.storeStaying(e.getKey(), p -> job.packs.containsKey(p) && !go.contains(p), false);
            } catch (StorageException x) {
                if (x.isMissing()) {
                    continue; // another prune has replaced it meanwhile
                }
                throw x.code() == ErrorCode.REPOSITORY_CORRUPT ? refused(x) : x;
            }
            store.delete(keys.index(e.getKey()));
            n++;
        }
        return n;
    }

    private int deleteOrphans(List<VmObject> orphans) throws StorageException {
        int n = 0;
        for (VmObject o : orphans) {
            byte[] note = {'p'};
            store.put(keys.gone(o.checkpoint()), note, 0, note.length);
            if (store.size(keys.checkpoint(o.checkpoint())).isPresent()) {
                store.delete(keys.gone(o.checkpoint()));
                continue;
            }
            boolean same = store.list(o.stored().key()).stream()
                    .anyMatch(s -> s.key().equals(o.stored().key())
                            && s.modified().equals(o.stored().modified()));
            if (same) {
                store.delete(o.stored().key());
                n++;
            }
        }
        return n;
    }

    /** Removes the marks in which nothing waits any more: all is deleted, gone or needed. */
    private void cleanMarks(Job job, List<ChunkId> deleted, List<VmObject> deletedOrphans) throws StorageException {
        Set<ChunkId> gone = new HashSet<>(deleted);
        Set<String> waiting = new HashSet<>();
        job.orphans.forEach(o -> waiting.add(name(o)));
        deletedOrphans.forEach(o -> waiting.remove(name(o)));
        for (Leases.Found f : job.marks) {
            boolean over = f.mark().packs().stream().map(ChunkId::parse).allMatch(id -> {
                        return !job.packs.containsKey(id) || gone.contains(id) || job.needed(id);
                    })
                    && f.mark().manifests().stream().noneMatch(waiting::contains);
            if (over) {
                store.delete(f.key());
            }
        }
    }

    /** Holds of checkpoints that are not there: who asked for them came too late. */
    private void cleanHolds(Job job, Instant now) throws StorageException {
        Set<String> held = survey.holds();
        held.removeAll(survey.checkpoints());
        for (String checkpoint : held) {
            for (Stored s : store.list(keys.hold(checkpoint))) {
                if (job.old(s.modified().plus(RUN_KEPT), now)) {
                    store.delete(s.key());
                }
            }
        }
    }

    /** A day longer than the grace period: a forget that stands between its look for a hold and its first deletion is still announced. */
    private void cleanGone(Job job, Instant now) throws StorageException {
        for (Stored s : store.list(keys.goneFolder())) {
            if (job.old(s.modified().plus(RUN_KEPT), now)) {
                store.delete(s.key());
            }
        }
    }
}
