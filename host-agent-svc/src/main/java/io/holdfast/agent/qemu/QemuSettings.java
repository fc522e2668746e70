package io.holdfast.agent.qemu;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * What the hypervisor adapter is told.
 *
 * @param binary QEMU's system emulator for x86-64
 * @param stateFolder the agent's state folder; the accelerator's proof is kept there
 * @param bootRoots folders under which kernels, initrds, firmware and read-only disks must lie
 * @param probeKernel Linux kernel with which {@code accelerator: auto} is proven; empty: one found in the boot roots, or the VM's own
 * @param probeLimit how long a kernel may take to its first line under KVM
 * @param user user that QEMU runs as when it exists and the agent is root
 * @param stageBytes memory that takes snapshot streams before they are on the disk, for all VMs of the host together
 * @param startLimit how long QEMU may take until QMP answers
 * @param commandLimit how long an ordinary QMP command may take
 * @param loadLimit how long loading an image may take
 */
public record QemuSettings(
        Path binary,
        Path stateFolder,
        List<Path> bootRoots,
        Optional<Path> probeKernel,
        Duration probeLimit,
        String user,
        long stageBytes,
        Duration startLimit,
        Duration commandLimit,
        Duration loadLimit) {
    public QemuSettings {
        bootRoots = List.copyOf(bootRoots);
    }

    /** The defaults. */
    public static QemuSettings defaults(Path stateFolder, List<Path> bootRoots) {
        return new QemuSettings(
                Path.of("/usr/bin/qemu-system-x86_64"),
                stateFolder,
                bootRoots,
                Optional.empty(),
                Duration.ofSeconds(5),
                "holdfast-vm",
                256L << 20,
                Duration.ofSeconds(30),
                Duration.ofSeconds(10),
                Duration.ofMinutes(5));
    }
}
