package io.holdfast.schemas.spec;

/** Whether a VM's RAM is made of 2 MiB huge pages. */
public enum Hugepages {
    auto,
    on,
    off
}
