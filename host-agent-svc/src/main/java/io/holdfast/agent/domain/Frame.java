package io.holdfast.agent.domain;

/**
 * A frame as the hold TAP gives it.
 *
 * @param micros when it was read, microseconds since the epoch
 * @param data 12 bytes of virtio-net header, then the Ethernet frame
 */
public record Frame(long micros, byte[] data) {
    /** Size of the virtio-net header before the Ethernet frame. */
    public static final int VNET_HEADER = 12;
}
