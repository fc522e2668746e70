package io.holdfast.agent.domain;

/**
 * A NIC of an instance on this host.
 *
 * @param vm name of the VM
 * @param index index of the NIC in its VM, from 0
 */
public record NicId(String vm, int index) {}
