package io.holdfast.coordinator.domain;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Request;
import java.time.Instant;
import java.util.List;

/**
 * What is to be done on the repository, as it is journalled: from it alone the command is made. What a kind has no use for is
 * null or empty.
 *
 * @param checkpoint the one that it is about (verify, hold, release)
 * @param samplePercent part of the packs to read (verify)
 * @param checkpoints those to forget
 * @param instance only its checkpoints (forget), or its line (stats)
 * @param keep what stays (forget)
 * @param inUse checkpoints that were being restored when the request came (forget)
 * @param reason free text (hold)
 * @param until time of the lock (hold)
 */
public record RepositoryTask(
        String checkpoint,
        int samplePercent,
        List<String> checkpoints,
        String instance,
        KeepPolicy keep,
        List<String> inUse,
        boolean dryRun,
        String reason,
        Instant until) {
    public RepositoryTask {
        checkpoints = checkpoints == null ? List.of() : List.copyOf(checkpoints);
        inUse = inUse == null ? List.of() : List.copyOf(inUse);
    }

    static RepositoryTask of(Request.OfRepository request, List<String> inUse) {
        return switch (request) {
            case Request.Verify v ->
                new RepositoryTask(
                        v.checkpoint(),
                        v.samplePercent() == null ? 100 : v.samplePercent(),
                        null,
                        null,
                        null,
                        null,
                        false,
                        null,
                        null);
            case Request.Forget f ->
                new RepositoryTask(
                        null,
                        0,
                        f.checkpoints(),
                        f.instance(),
                        f.keep(),
                        inUse,
                        Boolean.TRUE.equals(f.dryRun()),
                        null,
                        null);
            case Request.Prune p -> dry(p.dryRun());
            case Request.Hold h ->
                new RepositoryTask(h.checkpoint(), 0, null, null, null, null, false, h.reason(), h.until());
            case Request.Release r -> new RepositoryTask(r.checkpoint(), 0, null, null, null, null, false, null, null);
            case Request.Stats s -> new RepositoryTask(null, 0, null, s.instance(), null, null, false, null, null);
            case Request.Rebuild r -> dry(r.dryRun());
        };
    }

    private static RepositoryTask dry(Boolean dryRun) {
        return new RepositoryTask(null, 0, null, null, null, null, Boolean.TRUE.equals(dryRun), null, null);
    }

    static OperationKind kind(Request.OfRepository request) {
        return switch (request) {
            case Request.Verify v -> OperationKind.verify;
            case Request.Forget f -> OperationKind.forget;
            case Request.Prune p -> OperationKind.prune;
            case Request.Hold h -> OperationKind.hold;
            case Request.Release r -> OperationKind.release;
            case Request.Stats s -> OperationKind.stats;
            case Request.Rebuild r -> OperationKind.rebuild;
        };
    }

    Command command(OperationKind kind, Command.Header header) {
        return switch (kind) {
            case verify -> new Command.Verify(header, checkpoint, samplePercent);
            case forget -> new Command.Forget(header, checkpoints, instance, keep, inUse, dryRun);
            case prune -> new Command.Prune(header, dryRun);
            case hold -> new Command.Hold(header, checkpoint, reason, until);
            case release -> new Command.Release(header, checkpoint);
            case stats -> new Command.Stats(header, instance);
            case rebuild -> new Command.Rebuild(header, dryRun);
            case deploy, checkpoint, restore, destroy ->
                throw new IllegalStateException("a " + kind + " is no work on the repository");
        };
    }
}
