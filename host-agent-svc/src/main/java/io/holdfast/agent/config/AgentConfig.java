package io.holdfast.agent.config;

import io.smallrye.config.ConfigMapping;
import io.smallrye.config.WithDefault;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/** Configuration of a host agent, {@code holdfast.agent.*}. */
@ConfigMapping(prefix = "holdfast.agent")
public interface AgentConfig {
    /** This host's id, unique among the hosts of a broker: lower-case letters, digits and hyphens, at most 40. Required. */
    String host();

    /** IP address of this host that VXLAN uses. Required. */
    String underlay();

    /** State folder: instances with their QMP sockets and consoles, and the command journal. Private to this agent. */
    @WithDefault("/var/lib/holdfast/agent")
    Path stateDir();

    /** Image folder, shared with this host's storage service. */
    @WithDefault("/var/lib/holdfast/images")
    Path imageDir();

    /** Folders under which kernels, initrds, firmware and read-only disks may lie. None: none may be used. */
    Optional<List<Path>> bootRoots();

    /** QEMU's system emulator for x86-64, 9.0 or newer. */
    @WithDefault("/usr/bin/qemu-system-x86_64")
    Path qemu();

    /** Linux kernel that proves KVM for {@code accelerator: auto}; none: one found in the boot roots, or the VM's own. */
    Optional<Path> probeKernel();

    /** Memory that takes snapshot streams before they are on the disk, in bytes, for all VMs of the host together. */
    @WithDefault("268435456")
    long stageBytes();

    /** Longest time that loading an image into a VM may take. */
    @WithDefault("PT5M")
    Duration loadLimit();

    /** UDP port of VXLAN, the same on every host. */
    @WithDefault("4789")
    int vxlanPort();

    /** How long a cut's channel stays open after the last cookie, for frames that took another path. */
    @WithDefault("PT0.001S")
    Duration settle();

    /** Goes before the names of the network namespaces that this agent makes. */
    @WithDefault("hf-")
    String netnsPrefix();

    /** Archived images of an instance that stay on this host, newest first. */
    @WithDefault("1")
    int keepImages();

    /** Those stay only that long after they were archived, pulled or restarted last, when nothing of their instance is on this host. */
    @WithDefault("PT168H")
    Duration keepUnused();

    /**
     * Images that a restore needs stay until it has ended, or at most that long after its pull began: more than
     * {@code holdfast.coordinator.limits.pull}, {@code .load} and {@code .resume} together.
     */
    @WithDefault("PT3H")
    Duration claimLimit();

    /** Time between two looks for archived images that need not stay; the preparation of a checkpoint looks too. */
    @WithDefault("PT10M")
    Duration pruneEvery();

    /** A prepared checkpoint is given up when no cut came in that time. */
    @WithDefault("PT60S")
    Duration prepareLimit();

    /** Longest time that writing an image may take after the cut. */
    @WithDefault("PT10M")
    Duration writeLimit();

    /** Longest wait for a VM's answer when it is to run again. */
    @WithDefault("PT5S")
    Duration runLimit();

    /** VMs that are started or loaded side by side. */
    @WithDefault("2")
    int parallelism();

    /** Finished commands are remembered that long, so that a repeat is answered and not done twice. */
    @WithDefault("PT24H")
    Duration commandRetention();

    /** Commands sent longer ago are refused with TOO_LATE; destroy and abort are always done. */
    @WithDefault("PT10M")
    Duration commandMaxAge();

    /** A checkpoint's commands that come longer than that before they were sent are refused with CLOCK_SKEW. */
    @WithDefault("PT0.2S")
    Duration clockTolerance();

    /** For tests: allows the settings below, without which the agent does not start with them. */
    @WithDefault("false")
    boolean faultInjection();

    /** For tests: faults to arm when the agent starts, see FaultPoints. The file {@code fault} in the state folder arms more. */
    Optional<String> fault();

    /** For tests: how much this host's clock is ahead, negative when it is behind. */
    Optional<Duration> clockOffset();
}
