package io.holdfast.schemas.event;

/**
 * What a host knows of one of its VMs.
 *
 * @param vm name of the VM
 * @param state running, paused, incoming or dead
 * @param pid process id of QEMU, 0 when dead
 * @param accelerator kvm or tcg
 * @param hugepages whether RAM is huge pages
 * @param qemu QEMU's version, such as 10.0.2
 * @param reason why it is dead, or null
 */
public record VmState(
        String vm, String state, long pid, String accelerator, boolean hugepages, String qemu, String reason) {}
