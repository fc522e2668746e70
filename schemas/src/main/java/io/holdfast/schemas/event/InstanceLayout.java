package io.holdfast.schemas.event;

import io.holdfast.schemas.spec.NetworkSpec;
import java.util.List;
import java.util.Map;

/**
 * An instance placed on hosts: all that a host agent needs to build its part.
 *
 * @param instance name of the instance, a DNS label of at most 40 characters
 * @param spec the network, complete (every default filled in)
 * @param hosts the hosts of the instance with their VMs
 * @param vnis segment name to VXLAN network identifier, unique on the underlay
 */
public record InstanceLayout(String instance, NetworkSpec spec, List<HostPart> hosts, Map<String, Integer> vnis) {
    public InstanceLayout {
        hosts = List.copyOf(hosts);
        vnis = Map.copyOf(vnis);
    }

    /**
     * One host's part of an instance.
     *
     * @param host host id
     * @param underlay IP address of the host that VXLAN uses
     * @param vms names of the VMs on the host
     */
    public record HostPart(String host, String underlay, List<String> vms) {
        public HostPart {
            vms = List.copyOf(vms);
        }
    }

    /** The part of that host. */
    public HostPart part(String host) {
        return hosts.stream()
                .filter(h -> h.host().equals(host))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("host " + host + " has no part of " + instance));
    }
}
