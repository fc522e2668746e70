package io.holdfast.schemas.spec;

/** How QEMU runs guest code. */
public enum Accelerator {
    auto,
    kvm,
    tcg
}
