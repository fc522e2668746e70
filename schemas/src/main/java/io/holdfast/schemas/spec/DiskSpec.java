package io.holdfast.schemas.spec;

/**
 * A disk of a VM.
 *
 * @param name a DNS label, unique in the VM
 * @param mode readonly: {@code file} is attached read-only; scratch: an empty disk of {@code size} is made
 * @param file path on the host of a raw image, for mode readonly
 * @param size size such as {@code 1GiB}, for mode scratch
 */
public record DiskSpec(String name, Mode mode, String file, String size) {
    /** How a disk is attached. */
    public enum Mode {
        readonly,
        scratch
    }
}
