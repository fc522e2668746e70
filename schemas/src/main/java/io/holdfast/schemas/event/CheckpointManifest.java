package io.holdfast.schemas.event;

import java.time.Instant;
import java.util.List;

/**
 * The root object of a checkpoint, in the repository and in the catalog.
 *
 * @param format version of the format, 1
 * @param checkpoint id of the checkpoint
 * @param instance instance that was checkpointed
 * @param label free text, or null
 * @param takenAt when the cut was
 * @param layout the instance as it was placed
 * @param vms the VM manifests
 * @param machines what each VM needs of a host
 * @param cut figures of the cut, with the frame ledger
 */
public record CheckpointManifest(
        int format,
        String checkpoint,
        String instance,
        String label,
        Instant takenAt,
        InstanceLayout layout,
        List<VmArchive> vms,
        List<VmState> machines,
        CutFigures cut) {
    public CheckpointManifest {
        vms = List.copyOf(vms);
        machines = List.copyOf(machines);
    }
}
