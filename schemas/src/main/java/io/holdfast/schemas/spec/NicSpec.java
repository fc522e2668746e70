package io.holdfast.schemas.spec;

/**
 * A NIC of a VM.
 *
 * @param segment name of the segment that it joins
 * @param mac unicast MAC address in lower case with colons; null means one derived from the names
 */
public record NicSpec(String segment, String mac) {}
