package io.holdfast.agent.domain;

import io.holdfast.schemas.spec.VmSpec;
import java.nio.file.Path;
import java.util.List;

/** Starts and finds QEMU processes. */
public interface Hypervisor {
    /**
     * Starts a VM; returns when its QMP answers.
     *
     * @param incoming true: waits for Vm.load, does not run
     */
    Vm start(VmPlan plan, boolean incoming) throws AgentException;

    /** Finds a VM that outlived the agent, from the files in its folder. The result is dead if it has ended. */
    Vm adopt(VmPlan plan) throws AgentException;

    /** QEMU's version, such as 10.0.2. */
    String version();

    /** What {@code accelerator: auto} gives on this host, and why; proven once by booting a Linux kernel. */
    AcceleratorChoice accelerator();

    /** kvm or tcg, with the reason. */
    record AcceleratorChoice(String accelerator, String reason) {}

    /**
     * What a VM is made of.
     *
     * @param instance name of the instance
     * @param spec the VM, complete
     * @param folder the VM's state folder, exists, private to the instance (QMP socket, console, pid file)
     * @param namespaceFd network namespace for the process, or -1
     * @param taps descriptor and MAC of each NIC in order
     * @param fixed what the image says on a restart (accelerator, hugepages), or null
     */
    record VmPlan(String instance, VmSpec spec, Path folder, int namespaceFd, List<TapFd> taps, Image fixed) {}

    /** A NIC's TAP in this process; fd is -1 when adopting. */
    record TapFd(int fd, String mac, int mtu) {}
}
