package io.holdfast.schemas.view;

import java.time.Instant;
import java.util.List;

/**
 * An instance as the coordinator knows it; answer of {@code GET /api/v1/instances}.
 *
 * @param state deploying, running, degraded (a VM or host is gone), lost (all are) or destroying
 * @param hosts hosts of the instance
 * @param operation operation at work on it, or null
 * @param runningSince when its VMs began to run, or null
 */
public record InstanceView(
        String instance,
        String network,
        String state,
        List<String> hosts,
        List<VmView> vms,
        String operation,
        Instant runningSince) {
    public InstanceView {
        hosts = List.copyOf(hosts);
        vms = List.copyOf(vms);
    }

    /**
     * A VM of an instance.
     *
     * @param state running, paused, incoming, dead, or unknown when its host is not heard of
     * @param reason why it is dead, or null
     */
    public record VmView(
            String vm,
            String host,
            String state,
            long pid,
            String accelerator,
            boolean hugepages,
            String qemu,
            String reason) {}
}
