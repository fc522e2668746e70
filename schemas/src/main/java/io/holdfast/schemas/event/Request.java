package io.holdfast.schemas.event;

import io.holdfast.schemas.spec.NetworkSpec;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/** What other systems ask for. The CloudEvent's id, chosen by the client, is the request id. */
public sealed interface Request {
    /** The instance that the request is about; may be null where the request allows it, as for the repository. */
    String instance();

    /**
     * Deploys a network.
     *
     * @param spec the network
     * @param instance name of the instance, null: the network's name
     */
    record Deploy(NetworkSpec spec, String instance) implements Request {}

    /**
     * Takes a checkpoint of a running instance.
     *
     * @param instance the instance
     * @param label free text for people, at most 200 characters, or null
     */
    record Checkpoint(String instance, String label) implements Request {}

    /**
     * Restarts a checkpoint.
     *
     * @param checkpoint id of the checkpoint
     * @param instance name of the instance to make, null: the name that was checkpointed
     * @param placement VM name to host id for the VMs that must run on a given host; null or absent: chosen
     * @param replace true: a running instance of that name is destroyed first; default false
     */
    record Restore(String checkpoint, String instance, Map<String, String> placement, Boolean replace)
            implements Request {}

    /**
     * Removes an instance with everything it has on its hosts. Checkpoints stay.
     *
     * @param instance the instance
     * @param force true: hosts that do not answer are left out; default false
     */
    record Destroy(String instance, Boolean force) implements Request {}

    /** A request about the repository. */
    sealed interface OfRepository extends Request {
        @Override
        default String instance() {
            return null;
        }
    }

    /**
     * Looks whether what the repository holds can be restored.
     *
     * @param checkpoint only what that checkpoint needs, null: all checkpoints
     * @param samplePercent part of the packs that is read whole, 0 to 100, null: 100
     */
    record Verify(String checkpoint, Integer samplePercent) implements OfRepository {}

    /**
     * Removes checkpoints: either {@code checkpoints} or {@code keep} is given.
     *
     * @param checkpoints those to remove, or null
     * @param instance with keep: only checkpoints of that instance, null: of every instance, each by itself
     * @param keep what stays, or null
     * @param dryRun true: changes nothing; default false
     */
    record Forget(List<String> checkpoints, String instance, KeepPolicy keep, Boolean dryRun) implements OfRepository {}

    /**
     * Deletes what no checkpoint needs.
     *
     * @param dryRun true: changes nothing; default false
     */
    record Prune(Boolean dryRun) implements OfRepository {}

    /**
     * Holds a checkpoint: no forget removes it until it is released.
     *
     * @param reason free text, at most 200 characters, or null
     * @param until lock its objects in the bucket until then, where it has S3 Object Lock; or null
     */
    record Hold(String checkpoint, String reason, Instant until) implements OfRepository {}

    /** Releases a held checkpoint. */
    record Release(String checkpoint) implements OfRepository {}

    /**
     * Asks what the repository holds.
     *
     * @param instance of the lines by instance only that one, null: all
     */
    record Stats(String instance) implements OfRepository {}

    /**
     * Makes index and catalog anew from the bucket alone.
     *
     * @param dryRun true: changes nothing; default false
     */
    record Rebuild(Boolean dryRun) implements OfRepository {}
}
