package io.holdfast.schemas.spec;

import java.util.List;
import java.util.Map;

/**
 * A network as a user describes it (YAML or JSON): segments and the VMs joined by them.
 *
 * @param name name of the network, a DNS label of at most 40 characters
 * @param segments the layer-2 broadcast domains; may be empty when no VM has a NIC
 * @param vms the virtual machines, at least one
 * @param placement VM name to host id, for the VMs that must run on a given host; others are placed by the coordinator
 */
public record NetworkSpec(String name, List<SegmentSpec> segments, List<VmSpec> vms, Map<String, String> placement) {
    public NetworkSpec {
        segments = segments == null ? List.of() : List.copyOf(segments);
        vms = vms == null ? List.of() : List.copyOf(vms);
        placement = placement == null ? Map.of() : Map.copyOf(placement);
    }

    /** The VM of that name. */
    public VmSpec vm(String vmName) {
        return vms.stream()
                .filter(v -> v.name().equals(vmName))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no VM " + vmName + " in network " + name));
    }
}
