package io.holdfast.schemas.event;

import java.util.List;

/** What hosts tell of themselves, every second and at each change, on a compacted topic. */
public sealed interface Heartbeat {
    String host();

    /**
     * A host agent is alive.
     *
     * @param underlay IP address that VXLAN uses
     * @param qemu QEMU's version
     * @param accelerator kvm or tcg: what {@code auto} gives here
     * @param acceleratorReason why
     * @param cpus processors
     * @param memoryBytes RAM of the host
     * @param memoryFreeBytes RAM that new VMs may take
     * @param hugepagesFree free 2 MiB pages
     * @param imageFreeBytes free space of the image folder
     * @param instances what runs here
     */
    record Agent(
            String host,
            String underlay,
            String version,
            String qemu,
            String accelerator,
            String acceleratorReason,
            int cpus,
            long memoryBytes,
            long memoryFreeBytes,
            long hugepagesFree,
            long imageFreeBytes,
            List<InstanceState> instances)
            implements Heartbeat {}

    /** A storage service is alive. {@code reachable} tells whether the bucket answered last. */
    record Storage(String host, String version, String bucket, boolean reachable) implements Heartbeat {}

    /** VMs of one instance on the host. */
    record InstanceState(String instance, List<VmState> vms) {}
}
