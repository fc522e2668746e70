package io.holdfast.schemas.spec;

import java.util.List;

/**
 * One virtual machine. Null means the default; {@code SpecNormalizer} fills every default in, so the services only ever
 * see complete specs.
 *
 * @param name a DNS label of at most 40 characters, unique in the network
 * @param vcpus 1 to 64, default 1
 * @param memory RAM size such as {@code 256MiB} or {@code 4GiB}, a multiple of 2 MiB
 * @param hugepages whether RAM is 2 MiB huge pages, default auto
 * @param cpu QEMU CPU model, default {@code qemu64}: the same everywhere
 * @param machine QEMU machine type: {@code q35} (resolved to the versioned {@code pc-q35-9.0}), a versioned
 *     {@code pc-q35-N.M}, or {@code microvm}
 * @param accelerator auto, kvm or tcg, default auto
 * @param firmware path of a firmware image on the host, or null
 * @param kernel path of a Linux kernel on the host, or null
 * @param initrd path of an initrd on the host, or null
 * @param cmdline kernel command line, or null
 * @param disks disks in order of attachment
 * @param nics NICs in order of attachment
 * @param console whether the serial console is written to the instance's state folder, default true
 */
public record VmSpec(
        String name,
        Integer vcpus,
        String memory,
        Hugepages hugepages,
        String cpu,
        String machine,
        Accelerator accelerator,
        String firmware,
        String kernel,
        String initrd,
        String cmdline,
        List<DiskSpec> disks,
        List<NicSpec> nics,
        Boolean console) {
    public VmSpec {
        disks = disks == null ? List.of() : List.copyOf(disks);
        nics = nics == null ? List.of() : List.copyOf(nics);
    }

    /** RAM size in bytes. */
    public long memoryBytes() {
        return Sizes.parse(memory);
    }
}
