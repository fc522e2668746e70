package io.holdfast.schemas.event;

import java.time.Instant;
import java.util.List;
import java.util.Map;

/** What Holdfast tells other systems. */
public sealed interface PublicEvent {
    /** The instance that the event is about; null for operations on the repository and when a rejected request named none. */
    String instance();

    /**
     * A request became an operation.
     *
     * @param operation id of the operation
     * @param checkpoint id of the checkpoint that will be made or restored, or null
     */
    record Accepted(
            String operation,
            OperationKind kind,
            String instance,
            String requestId,
            String requestSource,
            String checkpoint)
            implements PublicEvent {}

    /** A request was refused and nothing was changed. {@code kind} is null when the request could not be read. */
    record Rejected(OperationKind kind, String instance, String requestId, String requestSource, List<Problem> problems)
            implements PublicEvent {}

    /**
     * An operation went on.
     *
     * @param phase phase of the operation
     * @param host the host that reports, or null
     * @param state started, progressing, waiting or done
     * @param done bytes or steps done, or null
     * @param total bytes or steps in all, or null
     * @param perSecond bytes or steps a second over the last seconds, or null
     * @param secondsLeft seconds until all is done at that rate, or null
     * @param again of a host that waits: when it tries again; null where it is silent, and else
     * @param why of a host that waits: what failed; else null
     */
    record Progressed(
            String operation,
            OperationKind kind,
            String instance,
            String phase,
            String host,
            String state,
            Long done,
            Long total,
            Long perSecond,
            Long secondsLeft,
            Instant again,
            HostFailure why)
            implements PublicEvent {}

    /** A network was deployed. */
    record DeployCompleted(
            String operation, String instance, Map<String, String> placement, List<VmState> vms, long durationMillis)
            implements PublicEvent {}

    /**
     * A checkpoint is archived and can be restored.
     *
     * @param manifestKey S3 key of the checkpoint's manifest
     * @param manifestSha256 its digest in hex
     * @param cut figures of the cut
     * @param archive figures of the archive, a host each
     */
    record CheckpointCompleted(
            String operation,
            String instance,
            String checkpoint,
            String manifestKey,
            String manifestSha256,
            CutFigures cut,
            List<ArchiveFigures> archive,
            Instant takenAt,
            long durationMillis)
            implements PublicEvent {}

    /**
     * A checkpoint runs again.
     *
     * @param phases phase to milliseconds that it took
     */
    record RestoreCompleted(
            String operation,
            String instance,
            String checkpoint,
            Map<String, String> placement,
            Map<String, Long> phases,
            long durationMillis)
            implements PublicEvent {}

    /** An instance is gone with all it had. */
    record DestroyCompleted(String operation, String instance, long durationMillis) implements PublicEvent {}

    /** The end of an operation on the repository. */
    sealed interface OfRepository extends PublicEvent {
        @Override
        default String instance() {
            return null;
        }
    }

    /** The repository was verified. */
    record VerifyCompleted(String operation, Maintenance.VerifyResult result, long durationMillis)
            implements OfRepository {}

    /** Checkpoints were forgotten. */
    record ForgetCompleted(String operation, Maintenance.ForgetResult result, long durationMillis)
            implements OfRepository {}

    /** What no checkpoint needs was marked or deleted. */
    record PruneCompleted(String operation, Maintenance.PruneResult result, long durationMillis)
            implements OfRepository {}

    /**
     * A checkpoint is held.
     *
     * @param reason free text, or null
     * @param until time that was asked for, or null
     * @param locked whether the bucket itself refuses to delete the objects until then
     * @param note what the hold does and does not protect from
     */
    record HoldCompleted(
            String operation,
            String checkpoint,
            String reason,
            Instant until,
            boolean locked,
            String note,
            long durationMillis)
            implements OfRepository {}

    /** A checkpoint is held no more. */
    record ReleaseCompleted(String operation, String checkpoint, long durationMillis) implements OfRepository {}

    /** What the repository holds. */
    record StatsCompleted(String operation, Maintenance.StatsResult result, long durationMillis)
            implements OfRepository {}

    /** Index and catalog are as the bucket is. */
    record RebuildCompleted(String operation, Maintenance.RebuildResult result, long durationMillis)
            implements OfRepository {}

    /** An operation failed. VMs that ran before run on. */
    record Failed(
            String operation,
            OperationKind kind,
            String instance,
            String phase,
            ErrorCode code,
            String message,
            String remedy,
            List<HostFailure> hosts)
            implements PublicEvent {}

    /** A VM ended by itself. */
    record VmExited(String instance, String vm, String host, String reason) implements PublicEvent {}

    /** What one host had to say of a failure. */
    record HostFailure(String host, ErrorCode code, String message, String remedy) {}
}
