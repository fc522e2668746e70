package io.holdfast.schemas.event;

/**
 * What the coordinator tells a host. The CloudEvent's id is {@link Header#id()}, the Kafka key is the host id. A host
 * that has done a command already answers a repeat with the same reports and does nothing.
 */
public sealed interface Command {
    Header header();

    /**
     * What every command carries.
     *
     * @param operation id of the operation
     * @param instance the instance, null in commands on the repository
     * @param host the host that is told
     * @param phase name of the phase
     * @param attempt 1, 2, ...
     * @param epoch the coordinator's epoch; hosts refuse one older than the newest seen
     * @param answerBy when nobody waits for the answer any more, by the coordinator's clock: what is not begun by then is not begun at all; null: at no time
     */
    record Header(
            String operation,
            String instance,
            String host,
            String phase,
            int attempt,
            long epoch,
            java.time.Instant answerBy) {
        /** Of a command that may begin at any time. */
        public Header(String operation, String instance, String host, String phase, int attempt, long epoch) {
            this(operation, instance, host, phase, attempt, epoch, null);
        }

        /** The same with a time by which it must have begun. */
        public Header by(java.time.Instant time) {
            return new Header(operation, instance, host, phase, attempt, epoch, time);
        }

        /** {@code operation/host/phase/attempt}. */
        public String id() {
            return operation + "/" + host + "/" + phase + "/" + attempt;
        }
    }

    /** A command for the host agent. */
    sealed interface ForAgent extends Command {}

    /** A command for the storage service. */
    sealed interface ForStorage extends Command {}

    /** Build the host's part of the instance and start its VMs. Phase {@code deploy}. */
    record Deploy(Header header, InstanceLayout layout) implements ForAgent {}

    /**
     * Make ready for a cut. Phase {@code prepare}.
     *
     * @param nonce 16 random bytes in hex, carried by the cookies
     * @param cutLimitMillis VMs run again after that time at the latest
     */
    record Prepare(Header header, String checkpoint, String nonce, int cutLimitMillis) implements ForAgent {}

    /**
     * Take the cut at a time and write the image. Phase {@code cut}; answered by two reports, {@code cut} and
     * {@code write}.
     *
     * @param startAtMicros microseconds since the epoch
     */
    record Cut(Header header, String checkpoint, long startAtMicros) implements ForAgent {}

    /** Give up a checkpoint and remove what it left. Phase {@code abort}. */
    record Abort(Header header, String checkpoint, String reason) implements ForAgent {}

    /** Build the network of a restart, start QEMU and load the images, VMs not yet running. Phase {@code load}. */
    record Load(Header header, String checkpoint, InstanceLayout layout) implements ForAgent {}

    /**
     * Frames in flight first, then run the VMs. Phase {@code resume}.
     *
     * @param startAtMicros microseconds since the epoch; a late host starts at once
     */
    record Resume(Header header, String checkpoint, long startAtMicros) implements ForAgent {}

    /** Remove the host's part of the instance. Phase {@code destroy}. Done too when there is nothing. */
    record Destroy(Header header) implements ForAgent {}

    /** Upload the images of the host's VMs. Phase {@code archive}. */
    record Archive(Header header, String checkpoint, java.util.List<String> vms) implements ForStorage {}

    /** Write the checkpoint's manifest, last. Phase {@code commit}. */
    record Commit(Header header, CheckpointManifest manifest) implements ForStorage {}

    /** Bring the images of VMs from the repository to the host. Phase {@code pull}. */
    record Pull(Header header, String checkpoint, String manifestKey, java.util.List<String> vms)
            implements ForStorage {}

    /** A command on the repository, to one storage service. */
    sealed interface ForRepository extends ForStorage {}

    /**
     * Look whether what the repository holds can be restored. Phase {@code verify}.
     *
     * @param checkpoint only what that checkpoint needs, or null
     * @param samplePercent part of the packs to read whole, 0 to 100
     */
    record Verify(Header header, String checkpoint, int samplePercent) implements ForRepository {}

    /**
     * Remove checkpoints. Phase {@code forget}.
     *
     * @param checkpoints those to remove, when no policy is given
     * @param instance with keep: only checkpoints of that instance, or null
     * @param keep what stays, or null
     * @param inUse checkpoints that are being restored: not to be removed
     */
    record Forget(
            Header header,
            java.util.List<String> checkpoints,
            String instance,
            KeepPolicy keep,
            java.util.List<String> inUse,
            boolean dryRun)
            implements ForRepository {}

    /** Mark and delete what no checkpoint needs. Phase {@code prune}. */
    record Prune(Header header, boolean dryRun) implements ForRepository {}

    /** Hold a checkpoint. Phase {@code hold}. {@code reason} and {@code until} may be null. */
    record Hold(Header header, String checkpoint, String reason, java.time.Instant until) implements ForRepository {}

    /** Release a held checkpoint. Phase {@code release}. Done too when it is not held. */
    record Release(Header header, String checkpoint) implements ForRepository {}

    /** Count what the repository holds. Phase {@code stats}. {@code instance} may be null. */
    record Stats(Header header, String instance) implements ForRepository {}

    /** Make the index anew from the packs, and tell every checkpoint. Phase {@code rebuild}. */
    record Rebuild(Header header, boolean dryRun) implements ForRepository {}
}
