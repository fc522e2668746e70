package io.holdfast.schemas.event;

import java.util.List;

/** What a host answers to a command. The CloudEvent's id is {@link Header#id()}, the Kafka key is the operation. */
public sealed interface Report {
    Header header();

    /**
     * What every report carries: the command's header; {@code phase} is the report's own phase.
     *
     * @param instance the instance, null in reports on the repository
     * @param state done, failed, progress or found
     * @param sequence 0 for done and failed, 1, 2, ... for progress and found
     */
    record Header(
            String operation,
            String instance,
            String host,
            String phase,
            int attempt,
            long epoch,
            String state,
            int sequence) {
        /** {@code operation/host/phase/attempt/state}, with the sequence number for progress. */
        public String id() {
            return operation + "/" + host + "/" + phase + "/" + attempt + "/" + state
                    + (sequence == 0 ? "" : "/" + sequence);
        }

        /** The header of an end report for a command. */
        public static Header of(Command.Header c, String phase, String state) {
            return new Header(c.operation(), c.instance(), c.host(), phase, c.attempt(), c.epoch(), state, 0);
        }
    }

    /** VMs run. */
    record Deployed(Header header, List<VmState> vms) implements Report {}

    /** Ready for the cut. {@code neededBytes} is the most that the images can take. */
    record Prepared(Header header, long neededBytes, long freeBytes, List<VmState> vms) implements Report {}

    /** The cut is taken and the VMs run again. */
    record CutDone(Header header, CutFigures.HostCut figures) implements Report {}

    /** The images are complete and durable on the host's disk. Phase {@code write}. */
    record Written(Header header, List<VmImage> images) implements Report {}

    /** The checkpoint is given up here, VMs run. */
    record Aborted(Header header) implements Report {}

    /** VMs are loaded and wait. */
    record Loaded(Header header, List<VmState> vms) implements Report {}

    /** VMs run. {@code injectedFrames} frames in flight were given to them first. */
    record Resumed(Header header, List<VmState> vms, long injectedFrames) implements Report {}

    /** Nothing of the instance is left here. */
    record Destroyed(Header header) implements Report {}

    /** The VMs' images are in the repository. */
    record Archived(Header header, List<VmArchive> vms, ArchiveFigures figures) implements Report {}

    /** The manifest is written: the checkpoint exists. */
    record Committed(Header header, String manifestKey, String manifestSha256, CheckpointManifest manifest)
            implements Report {}

    /** The images are on the host's disk. */
    record Pulled(Header header, long bytes, long durationMillis) implements Report {}

    /** The repository was verified. */
    record Verified(Header header, Maintenance.VerifyResult result) implements Report {}

    /** Checkpoints were forgotten. */
    record Forgotten(Header header, Maintenance.ForgetResult result) implements Report {}

    /** What no checkpoint needs was marked or deleted. */
    record Pruned(Header header, Maintenance.PruneResult result) implements Report {}

    /** The checkpoint is held; {@code locked} by the bucket itself too. */
    record Held(Header header, String checkpoint, boolean locked, String note) implements Report {}

    /** The checkpoint is held no more. */
    record Released(Header header, String checkpoint) implements Report {}

    /** What the repository holds. */
    record Counted(Header header, Maintenance.StatsResult result) implements Report {}

    /** A checkpoint of the bucket, told by a rebuild before it ends. */
    record Found(Header header, String manifestKey, String manifestSha256, boolean held, CheckpointManifest manifest)
            implements Report {}

    /** Index and catalog are as the bucket is. */
    record Rebuilt(Header header, Maintenance.RebuildResult result) implements Report {}

    /** The command was refused or failed; what had been done of it is undone. */
    record Failed(Header header, ErrorCode code, String message, String remedy) implements Report {}

    /** The command goes on. */
    record Progress(Header header, long done, long total, String unit, Long perSecond, Long secondsLeft)
            implements Report {
        /** With what is known of the rate. */
        public static Progress of(Header header, long done, long total, String unit, Pace pace) {
            Pace.Now now = pace.at(done, total, System.nanoTime());
            return new Progress(header, done, total, unit, now.perSecond(), now.secondsLeft());
        }
    }
}
