package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.app.CommandRunner;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Scratch;
import io.holdfast.storage.domain.ChunkCodec;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.StorageException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;

/** Does commands on the repository. Thread-safe: each works on its own survey of the bucket. */
public final class Keeper implements CommandRunner.Maintenance {
    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final Leases leases;
    private final ChunkCodec codec;
    private final Repack policy;
    /** Packs that verify reads side by side at most: each takes 24 MiB of heap, and an archive may be at work in it. */
    private static final int MOST_READERS = 2;

    private final int threads;
    private final Path room;
    private final Clock clock;

    /**
     * How a prune rewrites packs of which little is needed, and small ones.
     *
     * @param packBytes size from which a pack is uploaded
     * @param maxUnusedPercent part of the bytes of needed packs that may be needed by nobody, before some are rewritten; 100: none ever is
     * @param smallPercent of a pack that a pack must fill to be left alone; others are joined. 0: none is
     * @param mostBytes of packs that one prune rewrites, but one at least; 0: none
     */
    public record Repack(int packBytes, int maxUnusedPercent, int smallPercent, long mostBytes) {
        public Repack {
            if (maxUnusedPercent < 0 || maxUnusedPercent > 100) {
                throw new IllegalArgumentException(
                        "holdfast.storage.max-unused-percent must be 0 to 100, is " + maxUnusedPercent);
            }
            if (smallPercent < 0 || smallPercent > 100) {
                throw new IllegalArgumentException(
                        "holdfast.storage.repack-small-percent must be 0 to 100, is " + smallPercent);
            }
            if (mostBytes < 0) {
                throw new IllegalArgumentException(
                        "holdfast.storage.max-repack-bytes must be 0, for none, or more, is " + mostBytes);
            }
        }

        /** What part of a pack so many bytes in so many chunks fill; 1 is a full one. */
        double filled(long bytes, int chunks) {
            return Math.max((double) bytes / packBytes, (double) chunks / PackFormat.mostChunks(packBytes));
        }
    }

    /**
     * Makes it; nothing is read yet.
     *
     * @param threads packs that are read side by side
     * @param policy how a prune rewrites packs of which little is needed
     * @param room folder for what may be too much for the heap, or null: then the heap takes it
     */
    public Keeper(
            ObjectStore store,
            Keys keys,
            Repository repository,
            Leases leases,
            ChunkCodec codec,
            int threads,
            Repack policy,
            Path room,
            Clock clock) {
        this.store = store;
        this.keys = keys;
        this.repository = repository;
        this.leases = leases;
        this.codec = codec;
        this.threads = threads;
        this.policy = policy;
        this.room = room;
        this.clock = clock;
    }

    /** Does a command. Every one may be done again after it was cut off. */
    @Override
    public Report execute(Command.ForRepository command, Progress progress, Consumer<Report> more)
            throws StorageException, InterruptedException {
        if (command instanceof Command.Verify || command instanceof Command.Rebuild) {
            repository.open(); // they tell of a config that is gone, and bring it back
        } else {
            repository.confirm();
        }
        if (room == null) {
            return execute(command, new Survey(store, keys, repository), progress, more);
        }
        try (Scratch scratch = new Scratch(room)) {
            return execute(command, new Survey(store, keys, repository, scratch), progress, more);
        }
    }

    @Override
    public boolean withdraw(String checkpoint) throws StorageException {
        repository.confirm();
        return new Forgetter(store, keys, new Survey(store, keys, repository), clock, "withdrawn").remove(checkpoint);
    }

    private Report execute(Command.ForRepository command, Survey survey, Progress progress, Consumer<Report> more)
            throws StorageException, InterruptedException {
        Command.Header h = command.header();
        Report.Header done = Report.Header.of(h, h.phase(), "done");
        return switch (command) {
            case Command.Verify v -> {
                PackReader reader = new PackReader(store, keys, repository.vault(), codec);
                long seed = ThreadLocalRandom.current().nextLong();
                yield new Report.Verified(
                        done,
                        new Verifier(keys, survey, leases, reader, Math.min(threads, MOST_READERS))
                                .verify(v.checkpoint(), v.samplePercent(), seed, progress));
            }
            case Command.Forget f -> {
                if ((f.keep() == null) == f.checkpoints().isEmpty()) {
                    throw new StorageException(
                            ErrorCode.INVALID_EVENT, "either checkpoints or a policy", "see docs/protocol.md");
                }
                Forgetter forgetter = new Forgetter(store, keys, survey, clock, h.id());
                yield new Report.Forgotten(
                        done,
                        f.keep() == null
                                ? forgetter.named(f.checkpoints(), f.inUse(), f.dryRun(), progress)
                                : forgetter.byPolicy(f.instance(), f.keep(), f.inUse(), f.dryRun(), progress));
            }
            case Command.Prune p ->
                new Report.Pruned(
                        done,
                        new Pruner(store, keys, survey, leases, repository.grace(), policy)
                                .prune(p.dryRun(), progress));
            case Command.Hold hold -> {
                var held = new Holder(store, keys, survey, clock)
                        .hold(hold.checkpoint(), hold.reason(), hold.until(), progress);
                yield new Report.Held(done, hold.checkpoint(), held.locked(), held.note());
            }
            case Command.Release r -> {
                new Holder(store, keys, survey, clock).release(r.checkpoint());
                yield new Report.Released(done, r.checkpoint());
            }
            case Command.Stats s ->
                new Report.Counted(done, new Statistics(store, keys, survey).count(s.instance(), progress));
            case Command.Rebuild r -> {
                int[] n = new int[1];
                var result = new Rebuilder(store, keys, survey)
                        .rebuild(
                                r.dryRun(),
                                (key, sha, held, m) ->
                                        more.accept(new Report.Found(found(h, ++n[0]), key, sha, held, m)),
                                progress);
                yield new Report.Rebuilt(done, result);
            }
        };
    }

    private static Report.Header found(Command.Header h, int sequence) {
        return new Report.Header(
                h.operation(), h.instance(), h.host(), h.phase(), h.attempt(), h.epoch(), "found", sequence);
    }
}
