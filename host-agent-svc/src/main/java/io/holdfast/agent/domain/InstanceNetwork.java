package io.holdfast.agent.domain;

import java.util.List;

/** An instance's network on this host. */
public interface InstanceNetwork extends AutoCloseable {
    NetworkPlan plan();

    /** Descriptor of the network namespace, for starting QEMU in it; -1 if QEMU needs none. */
    int namespaceFd();

    /** This process's descriptor of the NIC's TAP, to be inherited by QEMU. */
    int tapFd(NicId nic);

    /** Restart: queues frames in flight in front of everything the closed gate has held. In order. */
    void inject(NicId nic, List<Frame> frames) throws AgentException;

    /** Restart: opens all gates, giving held frames in order. */
    void openGates() throws AgentException;

    /** Lets go of descriptors without removing anything: VMs run on, gates open by themselves. */
    @Override
    void close();
}
