package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.image.DevicesFile;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.agent.image.StreamComposer;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * Turns the images of a checkpoint into what stock tools take, so that nobody needs Holdfast to run them: per VM a plain QEMU
 * migration stream, disk and boot files, frames in flight as pcapng, and a script that starts it; beside them a script that makes
 * the segments as bridges and starts all VMs.
 *
 * <p>{@code java ... Exporter IMAGES/CHECKPOINT TARGET}. IMAGES/CHECKPOINT holds an image folder per VM, as a pull leaves them.
 * Exit status 0 done, 1 failed, 2 wrong use.
 */
public final class Exporter {
    /** The migration stream of a VM. */
    public static final String STREAM = "memory.migration";

    private static final byte[] GLOBAL_STATE = "\u000bglobalstate".getBytes(StandardCharsets.ISO_8859_1);
    private static final int RUN_STATE = 100;

    private final PrintStream out;

    public Exporter(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) {
        if (args.length != 2) {
            System.err.println("usage: Exporter IMAGES/CHECKPOINT TARGET");
            System.exit(2);
        }
        try {
            new Exporter(System.out).export(Path.of(args[0]).toRealPath(), Path.of(args[1]));
        } catch (IOException | AgentException e) {
            System.err.println("export: " + e.getMessage());
            System.exit(1);
        }
    }

    /** Exports all VMs of a checkpoint. The target must be empty or missing. */
    public void export(Path images, Path target) throws IOException, AgentException {
        Files.createDirectories(target);
        try (var there = Files.list(target)) {
            if (there.anyMatch(p -> !p.getFileName().toString().startsWith("."))) {
                throw new IOException(target + " is not empty");
            }
        }
        List<Path> folders;
        try (var list = Files.list(images)) {
            folders = list.filter(p -> Files.isDirectory(p, LinkOption.NOFOLLOW_LINKS))
                    .sorted()
                    .toList();
        }
        List<VmSpec> vms = new ArrayList<>();
        for (Path f : folders) {
            vms.add(vm(f, images.getFileName().toString(), target));
        }
        script(target.resolve("run-all.sh"), all(vms));
        out.println("start all of them, as root: " + target.resolve("run-all.sh"));
    }

    private VmSpec vm(Path folder, String checkpoint, Path target) throws IOException, AgentException {
        String name = folder.getFileName().toString();
        ImageFolder image = ImageFolder.open(folder, checkpoint, name);
        MachineFile m = image.machine();
        Path to = Files.createDirectory(target.resolve(name));
        long bytes;
        try (FileChannel c =
                FileChannel.open(to.resolve(STREAM), StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
            bytes = new StreamComposer(image).writeTo(c);
            c.force(true);
        }
        int patched = makeRunning(to.resolve(STREAM), image.devices());
        try (var files = Files.list(folder)) {
            for (Path p : files.toList()) {
                String file = p.getFileName().toString();
                if (!Set.of(ImageFolder.RAM, ImageFolder.DEVICES, "archived").contains(file)) {
                    Files.copy(p, to.resolve(file), StandardCopyOption.COPY_ATTRIBUTES);
                }
            }
        }
        script(to.resolve("run.sh"), one(m));
        out.printf(
                "%s: %s of %d MiB%s%n",
                name,
                to.resolve(STREAM),
                bytes >> 20,
                patched == 0 ? "; it waits for \"cont\" after it is loaded" : "");
        return m.vm();
    }

    /**
     * A snapshot is of a paused VM and its stream says so; plain QEMU would load it and stay paused. So the stream's run state becomes
     * "running". Returns how many places were changed: 1, or 0 where it is not what is known.
     */
    private static int makeRunning(Path stream, DevicesFile devices) throws IOException {
        byte[] d = devices.devices();
        int at = indexOf(d, GLOBAL_STATE);
        // name, instance id, version, then the text's length with its end, then its room
        int length = at + GLOBAL_STATE.length + 8;
        int text = length + 4;
        if (at < 0 || text + RUN_STATE > d.length) {
            return 0;
        }
        int n = ByteBuffer.wrap(d).getInt(length);
        if (n < 1 || n > RUN_STATE || !new String(d, text, n - 1, StandardCharsets.US_ASCII).matches("[a-z-]+")) {
            return 0;
        }
        byte[] running = "running".getBytes(StandardCharsets.US_ASCII);
        ByteBuffer patch = ByteBuffer.allocate(4 + RUN_STATE);
        patch.putInt(running.length + 1).put(running).clear();
        try (FileChannel c = FileChannel.open(stream, StandardOpenOption.WRITE)) {
            long from = c.size() - d.length - devices.trailer().length + length;
            c.write(patch, from);
            c.force(true);
        }
        return 1;
    }

    private static int indexOf(byte[] in, byte[] what) {
        for (int i = 0; i + what.length <= in.length; i++) {
            if (java.util.Arrays.equals(in, i, i + what.length, what, 0, what.length)) {
                return i;
            }
        }
        return -1;
    }

    private static void script(Path file, String text) throws IOException {
        Files.writeString(file, text);
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private static String quote(String word) {
        return word.matches("[A-Za-z0-9_./:=,@%+-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    private static String one(MachineFile m) {
        List<QemuCommand.Nic> nics = new ArrayList<>();
        for (MachineFile.Nic n : m.nics()) {
            nics.add(new QemuCommand.Nic(0, n.mac(), n.mtu()));
        }
        List<QemuCommand.Disk> disks = m.disks().stream()
                .map(d -> new QemuCommand.Disk(d.file(), d.mode().equals("readonly")))
                .toList();
        // ordinary pages: the stream is the same, and no host needs reserved ones
        List<String> words = new ArrayList<>(
                new QemuCommand(m.instance(), m.vm(), m.qemu().accelerator(), false, false, nics, disks).arguments());
        // the sandbox would forbid QEMU to start the programs of -incoming exec: and of a TAP's script
        int sandbox = words.indexOf("-sandbox");
        words.subList(sandbox, sandbox + 2).clear();
        words.set(0, "${QEMU:-qemu-system-x86_64}");
        StringBuilder s = new StringBuilder("#!/bin/sh\n"
                + "# Runs VM " + m.vm().name() + " of checkpoint " + m.checkpoint() + " of " + m.instance()
                + " from where it was. Needs QEMU " + m.qemu().version() + " or newer, nothing of Holdfast.\n"
                + "# A NIC is a TAP (the guest's drivers expect one): TAP0, TAP1, ... name TAPs that are there; else, as root, QEMU makes them.\n"
                + "# The disks are changed by running: keep a copy. QMP is at qmp.sock, the serial console in console.log.\n"
                + "cd \"$(dirname \"$0\")\" || exit 1\nrm -f qmp.sock\nexec ");
        for (int i = 0; i < words.size(); i++) {
            String w = words.get(i);
            if (w.startsWith("tap,id=net")) {
                String id = w.substring("tap,id=net".length(), w.indexOf(",fd="));
                w = "\"tap,id=net" + id + ",ifname=${TAP" + id + ":-hfx" + id + "},script=no,downscript=no,vhost=off\"";
            } else if (i > 0) {
                w = quote(w);
            }
            s.append(w)
                    .append(
                            w.startsWith("-")
                                            && i + 1 < words.size()
                                            && !words.get(i + 1).startsWith("-")
                                    ? " "
                                    : " \\\n  ");
        }
        return s.append("-incoming 'exec:cat " + STREAM + "' \"$@\"\n").toString();
    }

    private static String all(List<VmSpec> vms) {
        Set<String> segments = new TreeSet<>(Comparator.naturalOrder());
        vms.forEach(v -> v.nics().forEach(n -> segments.add(n.segment())));
        List<String> names = List.copyOf(segments);
        StringBuilder s = new StringBuilder(
                "#!/bin/sh\n# Makes a bridge per segment and starts every VM. Run as root, best in a network"
                        + " namespace of its own: ip netns add x; ip netns exec x ./run-all.sh\n"
                        + "# Frames that were in flight (frames-*.pcapng) are not sent again: TCP does that by itself.\n"
                        + "cd \"$(dirname \"$0\")\" || exit 1\nset -e\n");
        for (int i = 0; i < names.size(); i++) {
            s.append("ip link add hfxb" + i + " type bridge stp_state 0 mcast_snooping 0 && ip link set hfxb" + i
                    + " up   # segment " + names.get(i) + "\n");
        }
        int tap = 0;
        for (VmSpec v : vms) {
            StringBuilder env = new StringBuilder();
            for (int i = 0; i < v.nics().size(); i++) {
                NicSpec nic = v.nics().get(i);
                String name = "hfxt" + tap++;
                s.append("ip tuntap add " + name + " mode tap vnet_hdr && ip link set " + name + " master hfxb"
                        + names.indexOf(nic.segment()) + " up\n");
                env.append("TAP" + i + "=" + name + " ");
            }
            s.append(env + "./" + v.name() + "/run.sh > " + v.name() + "/qemu.log 2>&1 &\n");
        }
        return s.append("wait\n").toString();
    }
}
