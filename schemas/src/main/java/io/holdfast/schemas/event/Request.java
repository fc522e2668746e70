package io.holdfast.schemas.event;

import io.holdfast.schemas.spec.NetworkSpec;
import java.util.Map;

/** What other systems ask for. The CloudEvent's id, chosen by the client, is the request id. */
public sealed interface Request {
    /** The instance that the request is about; may be null where the request allows it. */
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
}
