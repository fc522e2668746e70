package io.holdfast.schemas.spec;

/**
 * One layer-2 broadcast domain.
 *
 * @param name a DNS label of at most 20 characters, unique in the network
 * @param mtu largest frame payload in bytes, 576 to 9000; null means 1450 (fits VXLAN on a 1500 byte underlay)
 */
public record SegmentSpec(String name, Integer mtu) {
    public static final int DEFAULT_MTU = 1450;
}
