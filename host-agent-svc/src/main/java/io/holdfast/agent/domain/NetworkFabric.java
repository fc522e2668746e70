package io.holdfast.agent.domain;

import java.util.List;
import java.util.Map;

/** Builds and removes instances' networks on this host. Thread-safe; one call at a time per instance. */
public interface NetworkFabric {
    /** Builds namespace, bridges, VXLAN, TAPs and gates. Leaves nothing when it fails. Gates are open unless asked. */
    InstanceNetwork build(NetworkPlan plan, boolean gatesClosed) throws AgentException;

    /**
     * Takes over a network whose VMs outlived the agent.
     *
     * @param tapOwners for each NIC, the live QEMU that holds its TAP: pid and descriptor number in that process
     */
    InstanceNetwork adopt(NetworkPlan plan, Map<NicId, RemoteFd> tapOwners) throws AgentException;

    /** Removes whatever is left of an instance, built by this process or an earlier one. Idempotent. */
    void remove(String instance) throws AgentException;

    /** Instances that have something on this host, by their namespaces. */
    List<String> present();

    /** A descriptor in another process. */
    record RemoteFd(long pid, int fd) {}
}
