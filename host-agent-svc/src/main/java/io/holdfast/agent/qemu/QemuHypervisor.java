package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.agent.domain.Vm;
import io.holdfast.agent.image.Digests;
import io.holdfast.agent.image.FileCloner;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.agent.nat.Native;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.DiskSpec;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.Sizes;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jboss.logging.Logger;

/** Starts and finds QEMU processes. They live in sessions of their own and survive the agent. Thread-safe. */
public final class QemuHypervisor implements Hypervisor {
    private static final Logger LOGGER = Logger.getLogger(QemuHypervisor.class);

    /** What QEMU prints. */
    static final String LOG = "qemu.log";

    private static final int CONSOLE_FD = 9;
    private static final int FIRST_TAP_FD = 10;
    /** With O_NOFOLLOW and O_NONBLOCK: the folder is the VM's user's. */
    private static final int O_WRONLY_APPEND_CREATE = 1 | 02000 | 0100 | 0400000 | 04000;

    private static final Path HUGE = Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB");
    private static final List<String> ENVIRONMENT = List.of("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C");

    private final QemuSettings settings;
    private final FileCloner cloner;
    private final FaultPoints faults;
    private final StagePool stage;
    private final Version version;
    private final String versionText;
    private final AcceleratorProbe probe;
    private final VmUser user;
    private final Map<DigestKey, String> digests = new ConcurrentHashMap<>();

    private record DigestKey(Path file, long size, FileTime modified, Object fileKey) {}

    private record Version(int major, int minor) implements Comparable<Version> {
        @Override
        public int compareTo(Version o) {
            return major != o.major ? Integer.compare(major, o.major) : Integer.compare(minor, o.minor);
        }
    }

    /**
     * Looks at the host's QEMU.
     *
     * @throws AgentException INCOMPATIBLE_HOST if QEMU is missing or older than 9.0
     */
    public QemuHypervisor(QemuSettings settings, FileCloner cloner) throws AgentException {
        this(settings, cloner, FaultPoints.OFF);
    }

    /** One whose snapshots pass fault points. */
    public QemuHypervisor(QemuSettings settings, FileCloner cloner, FaultPoints faults) throws AgentException {
        this.faults = faults;
        this.settings = settings;
        this.cloner = cloner;
        this.stage = new StagePool(settings.stageBytes());
        this.versionText = askVersion(settings.binary());
        this.version = parse(versionText);
        if (version.compareTo(new Version(9, 0)) < 0) {
            throw new AgentException(
                    ErrorCode.INCOMPATIBLE_HOST,
                    "QEMU " + versionText + " is too old: background snapshots need 9.0 or newer",
                    "install QEMU 9.0 or newer (Debian 12: from backports)");
        }
        this.probe = new AcceleratorProbe(settings, versionText);
        this.user = VmUser.find(settings.user());
    }

    private static String askVersion(Path binary) throws AgentException {
        try {
            Process p = new ProcessBuilder(binary.toString(), "--version")
                    .redirectErrorStream(true)
                    .start();
            String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            Matcher m = Pattern.compile("version ([0-9]+\\.[0-9]+(\\.[0-9]+)?)").matcher(out);
            if (m.find()) {
                return m.group(1);
            }
            throw new IOException("it says: " + out.strip());
        } catch (IOException e) {
            throw new AgentException(
                    ErrorCode.INCOMPATIBLE_HOST,
                    binary + " cannot be run: " + e.getMessage(),
                    "install qemu-system-x86 9.0 or newer",
                    e);
        }
    }

    private static Version parse(String text) {
        String[] parts = text.split("\\.", -1);
        return new Version(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]));
    }

    @Override
    public String version() {
        return versionText;
    }

    @Override
    public AcceleratorChoice accelerator() {
        return probe.choose(null);
    }

    @Override
    public Vm start(VmPlan plan, boolean incoming) throws AgentException {
        VmSpec spec = plan.spec();
        ImageFolder image = plan.fixed() == null ? null : ImageFolder.of(plan.fixed());
        if (image != null) {
            checkFits(image.machine());
        }
        try {
            user.own(plan.folder());
            if (image == null) {
                bootFiles(plan);
            } else {
                imageFiles(plan, image);
            }
            List<MachineFile.Disk> disks = image == null ? newDisks(plan) : imageDisks(plan, image);
            String accelerator = acceleratorOf(plan, image);
            boolean huge = hugepagesOf(spec);
            try {
                return launch(plan, incoming, accelerator, huge, disks);
            } catch (AgentException e) {
                if (huge && spec.hugepages() == Hugepages.auto) {
                    // Someone else took the huge pages between the look and the start.
                    LOGGER.infof("event=hugepages-short vm=%s reason=\"%s\"", spec.name(), e.getMessage());
                    return launch(plan, incoming, accelerator, false, disks);
                }
                throw e;
            }
        } catch (IOException e) {
            throw new AgentException(
                    ErrorCode.IO_FAILED,
                    "starting " + spec.name() + " failed: " + e.getMessage(),
                    "see the folder " + plan.folder(),
                    e);
        }
    }

    private void checkFits(MachineFile m) throws AgentException {
        Version of = parse(m.qemu().version());
        boolean micro = m.qemu().machine().startsWith("microvm");
        if (version.compareTo(of) < 0 || (micro && version.compareTo(of) != 0)) {
            throw new AgentException(
                    ErrorCode.INCOMPATIBLE_HOST,
                    "the image of " + m.vm().name() + " was made by QEMU "
                            + m.qemu().version() + " with " + m.qemu().machine() + ", this host has " + versionText,
                    micro
                            ? "microvm has no versions: restart it on a host with the same QEMU"
                            : "restart it on a host with the same QEMU or a newer one");
        }
    }

    private String acceleratorOf(VmPlan plan, ImageFolder image) throws AgentException {
        VmSpec spec = plan.spec();
        Path kernel = spec.kernel() == null ? null : plan.folder().resolve(ImageFolder.KERNEL);
        if (image != null) {
            String wanted = image.machine().qemu().accelerator();
            if (wanted.equals("kvm") && spec.accelerator() == Accelerator.auto) {
                AcceleratorChoice here = probe.choose(kernel);
                if (!here.accelerator().equals("kvm")) {
                    throw new AgentException(
                            ErrorCode.INCOMPATIBLE_HOST,
                            "the image of " + spec.name() + " was made under KVM, which this host cannot: "
                                    + here.reason(),
                            "restart it on a host with KVM");
                }
            }
            return wanted;
        }
        return spec.accelerator() == Accelerator.auto
                ? probe.choose(kernel).accelerator()
                : spec.accelerator().name();
    }

    private static boolean hugepagesOf(VmSpec spec) throws IOException {
        return switch (spec.hugepages()) {
            case on -> true;
            case off -> false;
            case auto -> freeHugePages() >= spec.memoryBytes() >> 21;
        };
    }

    /** Free 2 MiB pages that are not reserved. */
    public static long freeHugePages() throws IOException {
        try {
            return Long.parseLong(
                            Files.readString(HUGE.resolve("free_hugepages")).strip())
                    - Long.parseLong(
                            Files.readString(HUGE.resolve("resv_hugepages")).strip());
        } catch (NoSuchFileException e) {
            return 0;
        }
    }

    /** A path of a spec, allowed only under the boot roots. */
    private Path allowed(String path, String what) throws AgentException {
        try {
            Path real = Path.of(path).toRealPath();
            for (Path root : settings.bootRoots()) {
                if (Files.exists(root) && real.startsWith(root.toRealPath())) {
                    if (!Files.isRegularFile(real)) {
                        break;
                    }
                    return real;
                }
            }
            throw new AgentException(
                    ErrorCode.FILE_UNAVAILABLE,
                    what + " " + path + " is not a file under " + settings.bootRoots(),
                    "put it there, or add its folder to holdfast.agent.boot-roots");
        } catch (IOException | java.nio.file.InvalidPathException e) {
            throw new AgentException(
                    ErrorCode.FILE_UNAVAILABLE,
                    what + " " + path + " cannot be used: " + e.getMessage(),
                    "put the file on this host",
                    e);
        }
    }

    private void bootFiles(VmPlan plan) throws AgentException, IOException {
        VmSpec spec = plan.spec();
        bring(plan, spec.kernel(), ImageFolder.KERNEL);
        bring(plan, spec.initrd(), ImageFolder.INITRD);
        bring(plan, spec.firmware(), ImageFolder.FIRMWARE);
    }

    private void bring(VmPlan plan, String from, String name) throws AgentException, IOException {
        if (from != null) {
            copy(allowed(from, name), plan.folder().resolve(name));
        }
    }

    private void copy(Path from, Path to) throws IOException {
        Files.deleteIfExists(to);
        boolean ignored = cloner.copy(from, to);
        user.own(to);
    }

    private void imageFiles(VmPlan plan, ImageFolder image) throws IOException {
        for (String name : List.of(ImageFolder.KERNEL, ImageFolder.INITRD, ImageFolder.FIRMWARE)) {
            if (Files.exists(image.folder().resolve(name))) {
                copy(image.folder().resolve(name), plan.folder().resolve(name));
            }
        }
    }

    private List<MachineFile.Disk> newDisks(VmPlan plan) throws AgentException, IOException {
        List<MachineFile.Disk> disks = new ArrayList<>();
        for (DiskSpec d : plan.spec().disks()) {
            if (d.mode() == DiskSpec.Mode.scratch) {
                String name = ImageFolder.diskFile(d.name());
                long bytes = Sizes.parse(d.size());
                Path file = plan.folder().resolve(name);
                Files.deleteIfExists(file);
                try (var f = new RandomAccessFile(file.toFile(), "rw")) {
                    f.setLength(bytes);
                }
                user.own(file);
                disks.add(new MachineFile.Disk(d.name(), d.mode().name(), name, bytes, null));
            } else {
                Path file = allowed(d.file(), "disk " + d.name());
                disks.add(new MachineFile.Disk(d.name(), d.mode().name(), d.file(), Files.size(file), digest(file)));
            }
        }
        return disks;
    }

    private List<MachineFile.Disk> imageDisks(VmPlan plan, ImageFolder image) throws AgentException, IOException {
        for (MachineFile.Disk d : image.machine().disks()) {
            if (d.mode().equals(DiskSpec.Mode.scratch.name())) {
                copy(image.folder().resolve(d.file()), plan.folder().resolve(d.file()));
                continue;
            }
            Path file = allowed(d.file(), "disk " + d.name());
            if (Files.size(file) != d.bytes() || !digest(file).equals(d.sha256())) {
                throw new AgentException(
                        ErrorCode.INCOMPATIBLE_HOST,
                        "disk " + d.name() + ": " + d.file() + " is not the file that the VM had",
                        "put the same file on this host");
            }
        }
        return image.machine().disks();
    }

    private String digest(Path file) throws IOException {
        var a = Files.readAttributes(file, java.nio.file.attribute.BasicFileAttributes.class);
        var key = new DigestKey(file, a.size(), a.lastModifiedTime(), a.fileKey());
        String found = digests.get(key);
        if (found == null) {
            found = Digests.of(file);
            digests.put(key, found);
        }
        return found;
    }

    private Vm launch(VmPlan plan, boolean incoming, String accelerator, boolean huge, List<MachineFile.Disk> disks)
            throws AgentException, IOException {
        VmSpec spec = plan.spec();
        Path folder = plan.folder();
        List<Native.Inherit> inherit = new ArrayList<>();
        List<QemuCommand.Nic> nics = new ArrayList<>();
        List<MachineFile.Nic> recorded = new ArrayList<>();
        List<Integer> taps = new ArrayList<>();
        for (TapFd tap : plan.taps()) {
            int target = FIRST_TAP_FD + taps.size();
            inherit.add(new Native.Inherit(tap.fd(), target));
            nics.add(new QemuCommand.Nic(target, tap.mac(), tap.mtu()));
            recorded.add(new MachineFile.Nic(tap.mac(), tap.mtu()));
            taps.add(target);
        }
        var command = new QemuCommand(
                plan.instance(),
                spec,
                accelerator,
                huge,
                incoming,
                nics,
                disks.stream()
                        .map(d -> new QemuCommand.Disk(d.file(), d.mode().equals("readonly")))
                        .toList(),
                CONSOLE_FD);
        var planned = new VmRecord(
                VmRecord.VERSION,
                plan.instance(),
                spec,
                VmRecord.hostBootId(),
                0,
                0,
                taps,
                recorded,
                disks,
                new MachineFile.Qemu(versionText, spec.machine(), spec.cpu(), accelerator, huge));
        Files.deleteIfExists(folder.resolve(QemuCommand.QMP_SOCKET));
        planned.write(folder);
        Path log = folder.resolve(LOG);
        long logFrom = LogTail.size(log);
        int logFd = Native.open(log, O_WRONLY_APPEND_CREATE, 0640);
        Native.Started started;
        try (ConsolePipe console = spec.console()
                ? ConsolePipe.open(spec.name(), folder.resolve(QemuCommand.CONSOLE), plan.namespaceFd(), user)
                : null) {
            if (console != null) {
                inherit.add(new Native.Inherit(console.fd(), CONSOLE_FD));
            }
            started = Native.spawn(new Native.Spawn(
                    settings.binary(),
                    command.arguments(),
                    ENVIRONMENT,
                    folder,
                    inherit,
                    plan.namespaceFd(),
                    user.uid(),
                    user.gid(),
                    List.of(),
                    logFd,
                    logFd));
        } finally {
            Native.close(logFd);
        }
        VmRecord running = planned.started(started.pid(), VmRecord.startTime(started.pid()));
        var vm = new QemuVm(running, folder, started.pidfd(), logFrom, settings, stage, cloner, faults);
        boolean done = false;
        try {
            running.write(folder);
            vm.connect(settings.startLimit());
            LOGGER.infof(
                    "event=vm-started instance=%s vm=%s pid=%d accelerator=%s hugepages=%b incoming=%b user=%s",
                    plan.instance(),
                    spec.name(),
                    started.pid(),
                    accelerator,
                    huge,
                    incoming,
                    user.present() ? user.name() : "-");
            done = true;
            return vm;
        } catch (IOException e) {
            vm.kill();
            String said = LogTail.of(log, logFrom);
            throw new AgentException(
                    ErrorCode.QEMU_FAILED,
                    "QEMU of " + spec.name() + " did not start: " + (said.isEmpty() ? e.getMessage() : said),
                    "see " + log,
                    e);
        } finally {
            if (!done) {
                vm.kill();
            }
        }
    }

    @Override
    public Vm adopt(VmPlan plan) throws AgentException {
        Path folder = plan.folder();
        VmRecord found;
        try {
            found = VmRecord.read(folder);
        } catch (NoSuchFileException | java.io.FileNotFoundException e) {
            VmRecord never = new VmRecord(
                    VmRecord.VERSION,
                    plan.instance(),
                    plan.spec(),
                    "",
                    0,
                    0,
                    List.of(),
                    List.of(),
                    List.of(),
                    new MachineFile.Qemu(
                            versionText,
                            plan.spec().machine(),
                            plan.spec().cpu(),
                            plan.spec().accelerator() == Accelerator.kvm ? "kvm" : "tcg",
                            false));
            return QemuVm.dead(never, folder, settings, "it was never started");
        } catch (IOException e) {
            throw new AgentException(
                    ErrorCode.IO_FAILED,
                    folder.resolve(VmRecord.FILE) + " cannot be read: " + e.getMessage(),
                    "destroy the instance",
                    e);
        }
        try {
            if (!found.bootId().equals(VmRecord.hostBootId())) {
                return QemuVm.dead(found, folder, settings, "the host was booted anew");
            }
            if (found.pid() == 0) {
                endUnfinished(folder);
                return QemuVm.dead(found, folder, settings, "the agent ended while it was being started");
            }
            int pidfd;
            try {
                pidfd = Native.pidfdOpen(found.pid());
            } catch (IOException e) {
                return QemuVm.dead(
                        found,
                        folder,
                        settings,
                        "QEMU ended while no agent looked: " + LogTail.of(folder.resolve(LOG), 0));
            }
            // Only now: the descriptor keeps the pid from being used again.
            if (VmRecord.startTime(found.pid()) != found.startTime()) {
                Native.close(pidfd);
                return QemuVm.dead(
                        found,
                        folder,
                        settings,
                        "QEMU ended while no agent looked: " + LogTail.of(folder.resolve(LOG), 0));
            }
            var vm = new QemuVm(found, folder, pidfd, 0, settings, stage, cloner, faults);
            boolean done = false;
            try {
                vm.connect(settings.startLimit());
                vm.forgetStream();
                LOGGER.infof(
                        "event=vm-adopted instance=%s vm=%s pid=%d state=%s",
                        plan.instance(), vm.name(), vm.pid(), vm.state().state());
                done = true;
                return vm;
            } finally {
                if (!done) {
                    vm.detach();
                }
            }
        } catch (IOException e) {
            throw new AgentException(
                    ErrorCode.QEMU_FAILED,
                    "QEMU of " + plan.spec().name() + " (pid " + found.pid() + ") does not answer: " + e.getMessage(),
                    "see " + folder.resolve(LOG),
                    e);
        }
    }

    /** Ends a QEMU that was started but not recorded: it is known by its program and its working folder. */
    private void endUnfinished(Path folder) throws IOException {
        Path wanted = folder.toRealPath();
        Path program = settings.binary().toRealPath();
        for (ProcessHandle p : ProcessHandle.allProcesses().toList()) {
            Path proc = Path.of("/proc/" + p.pid());
            int pidfd;
            try {
                pidfd = Native.pidfdOpen(p.pid());
            } catch (IOException e) {
                continue; // it has ended
            }
            try {
                if (Files.readSymbolicLink(proc.resolve("cwd")).equals(wanted)
                        && Files.readSymbolicLink(proc.resolve("exe")).equals(program)) {
                    boolean there = Native.pidfdSignal(pidfd, Native.SIGKILL);
                    boolean ended = Native.pidfdWait(pidfd, 10_000);
                    LOGGER.infof("event=unfinished-ended pid=%d there=%b ended=%b", p.pid(), there, ended);
                }
            } catch (IOException e) {
                LOGGER.tracef("event=process-unreadable pid=%d reason=%s", p.pid(), e.getMessage());
            } finally {
                Native.close(pidfd);
            }
        }
    }
}
