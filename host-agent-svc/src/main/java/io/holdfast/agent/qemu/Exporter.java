package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.image.DevicesFile;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.agent.image.StreamComposer;
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
import java.util.stream.Collectors;

/**
 * Turns the images of a checkpoint into what stock tools take, so that nobody needs Holdfast to run them: per VM a plain QEMU
 * migration stream, disk and boot files, frames in flight as pcapng, and a script that starts it; beside them a script that makes
 * the segments as bridges and starts all VMs.
 *
 * <p>{@code java ... Exporter IMAGES/CHECKPOINT TARGET [NAME]}. IMAGES/CHECKPOINT holds an image folder per VM, as a pull leaves them; NAME is
 * what TARGET will be called when it is whole, for what is said.
 * Exit status 0 done, 1 failed, 2 wrong use.
 */
public final class Exporter {
    /** The migration stream of a VM. */
    public static final String STREAM = "memory.migration";

    private static final byte[] GLOBAL_STATE = "\u000bglobalstate".getBytes(StandardCharsets.ISO_8859_1);
    private static final int RUN_STATE = 100;

    /** Starts all VMs; between the marks comes what is particular to the checkpoint. */
    private static final String RUN_ALL = """
            #!/bin/sh
            # Runs all VMs of checkpoint @CHECKPOINT@ from where they were, joined as they were. Needs QEMU, iproute2 and util-linux,
            # nothing of Holdfast. Frames that were in flight (frames-*.pcapng) are not sent again: TCP does that by itself.
            usage() {
              cat << 'END'
            usage: ./run-all.sh [--here] [SEGMENT=BRIDGE]...

              Makes a bridge per segment (here: @SEGMENTS@) and a TAP per NIC in a network namespace of its own, starts every VM and
              waits for them; when it is ended (Ctrl-C) it ends them and removes what it made. Not as root it needs a user
              namespace and an accessible /dev/net/tun.
              --here            in the network namespace that is there, to reach the VMs from it
              SEGMENT=BRIDGE    the segment's NICs join a bridge that is there; says --here, too
            END
            }
            here= @CLEAR@
            while [ $# -gt 0 ]; do
              case $1 in
                -h | --help) usage; exit 0 ;;
                --here) here=1 ;;
            @OPTIONS@    *) echo "run-all.sh: what is '$1'?" >&2; usage >&2; exit 2 ;;
              esac
              shift
            done
            cd "$(dirname "$0")" || exit 1
            if [ -z "$here" ]; then
              [ "$(id -u)" -ne 0 ] || exec unshare --net ./run-all.sh --here
              exec unshare --map-root-user --net ./run-all.sh --here
            fi
            pids= made=
            end() {
              trap - EXIT
              trap '' INT TERM HUP
              [ -z "$pids" ] || kill $pids 2> /dev/null
              wait
              for link in $made; do ip link delete "$link"; done
            }
            trap end EXIT
            trap 'exit 130' INT
            trap 'exit 143' TERM HUP
            bridge() { ip link add "$1" type bridge stp_state 0 mcast_snooping 0 && made="$made $1" && ip link set "$1" up || exit 1; }
            tap() {
              ip tuntap add "$1" mode tap vnet_hdr && made="$made $1" && ip link set "$1" mtu "$3" master "$2" up || exit 1
            }
            @LINKS@@START@echo "their network: nsenter --target $$ --net (with --user first, when not started as root)"
            status=0
            ended() {
              set_aside=${pids#* }
              wait "${set_aside%% *}" || { status=1; echo "$1: QEMU ended with an error:" >&2; tail -n 5 "$1/qemu.log" >&2; }
              case $set_aside in *' '*) pids=" ${set_aside#* }" ;; *) pids= ;; esac
            }
            @WAIT@exit $status
            """;

    private final PrintStream out;

    public Exporter(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) {
        if (args.length < 2 || args.length > 3) {
            System.err.println("usage: Exporter IMAGES/CHECKPOINT TARGET [NAME]");
            System.exit(2);
        }
        try {
            new Exporter(System.out)
                    .export(Path.of(args[0]).toRealPath(), Path.of(args[1]), Path.of(args[args.length - 1]));
        } catch (IOException | AgentException e) {
            System.err.println("export: " + e.getMessage());
            System.exit(1);
        }
    }

    /** Exports all VMs of a checkpoint. The target must be empty or missing. */
    public void export(Path images, Path target) throws IOException, AgentException {
        export(images, target, target);
    }

    private void export(Path images, Path target, Path called) throws IOException, AgentException {
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
        if (folders.isEmpty()) {
            throw new IOException(images + " holds no image");
        }
        List<MachineFile> machines = new ArrayList<>();
        int nics = 0;
        for (Path f : folders) {
            MachineFile m = vm(f, images.getFileName().toString(), target, called, nics);
            machines.add(m);
            nics += m.nics().size();
        }
        script(target.resolve("run-all.sh"), all(machines));
        out.println("start all of them: " + called.resolve("run-all.sh"));
    }

    private MachineFile vm(Path folder, String checkpoint, Path target, Path called, int firstNic)
            throws IOException, AgentException {
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
        script(to.resolve("run.sh"), one(m, firstNic));
        out.printf(
                "%s: %s of %d MiB%s%n",
                name,
                called.resolve(name).resolve(STREAM),
                bytes >> 20,
                patched == 0 ? "; it waits for \"cont\" after it is loaded" : "");
        return m;
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

    /** @param firstNic number of the VM's first NIC among those of all VMs */
    private static String one(MachineFile m, int firstNic) {
        List<QemuCommand.Nic> nics = new ArrayList<>();
        for (MachineFile.Nic n : m.nics()) {
            nics.add(new QemuCommand.Nic(0, n.mac(), n.mtu()));
        }
        List<QemuCommand.Disk> disks = m.disks().stream()
                .map(d -> new QemuCommand.Disk(d.file(), d.mode().equals("readonly")))
                .toList();
        // ordinary pages: the stream is the same, and no host needs reserved ones
        List<String> words = new ArrayList<>(
                new QemuCommand(m.instance(), m.vm(), m.qemu().accelerator(), false, false, nics, disks, -1)
                        .arguments());
        // the sandbox would forbid QEMU to start the programs of -incoming exec: and of -netdev bridge
        int sandbox = words.indexOf("-sandbox");
        words.subList(sandbox, sandbox + 2).clear();
        words.set(0, "${QEMU:-qemu-system-x86_64}");
        StringBuilder s = new StringBuilder("#!/bin/sh\n"
                + "# Runs VM " + m.vm().name() + " of checkpoint " + m.checkpoint() + " of " + m.instance()
                + " from where it was. Needs QEMU " + m.qemu().version() + " or newer, nothing of Holdfast.\n"
                + "# ../run-all.sh runs all VMs, joined as they were. Alone: NIC n is on, the first that is set,\n"
                + "#   NETn=bridge,br=virbr0   a -netdev (without its id) that gives it a TAP (this one needs \"allow virbr0\" in\n"
                + "#                           /etc/qemu/bridge.conf); another does not load the NIC's state\n"
                + "#   TAPn=NAME               a TAP that is there: ip tuntap add NAME mode tap vnet_hdr\n"
                + "#   else a TAP that QEMU makes, as root, and that is joined to nothing\n"
                + "# The disks are changed by running: keep a copy. QMP is at qmp.sock, the serial console in console.log.\n"
                + "# Words that are given go to QEMU as they are; the environment's QEMU names another one.\n"
                + "cd \"$(dirname \"$0\")\" || exit 1\nrm -f qmp.sock\nexec ");
        for (int i = 0; i < words.size(); i++) {
            String w = words.get(i);
            if (w.startsWith("tap,id=net")) {
                String id = w.substring("tap,id=net".length(), w.indexOf(",fd="));
                w = "\"${NET" + id + ":-tap,ifname=${TAP" + id + ":-" + tap(firstNic + Integer.parseInt(id))
                        + "},script=no,downscript=no,vhost=off},id=net" + id + "\"";
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

    private static String tap(int number) {
        return "hfxt" + number;
    }

    private static String all(List<MachineFile> machines) {
        Set<String> segments = new TreeSet<>(Comparator.naturalOrder());
        machines.forEach(m -> m.vm().nics().forEach(n -> segments.add(n.segment())));
        List<String> names = List.copyOf(segments);
        StringBuilder options = new StringBuilder();
        StringBuilder bridges = new StringBuilder();
        for (int i = 0; i < names.size(); i++) {
            options.append("    " + names.get(i) + "=*) b" + i + "=${1#*=} here=1 ;;\n");
            bridges.append("[ -n \"$b" + i + "\" ] || { b" + i + "=hfxb" + i + "; bridge hfxb" + i + "; } # segment "
                    + names.get(i) + "\n");
        }
        StringBuilder start = new StringBuilder();
        StringBuilder wait = new StringBuilder();
        int number = 0;
        for (MachineFile m : machines) {
            String vm = m.vm().name();
            StringBuilder env = new StringBuilder();
            for (int i = 0; i < m.vm().nics().size(); i++) {
                String tap = tap(number++);
                bridges.append("tap " + tap + " \"$b"
                        + names.indexOf(m.vm().nics().get(i).segment()) + "\" "
                        + m.nics().get(i).mtu() + "\n");
                env.append("TAP" + i + "=" + tap + " ");
            }
            start.append(env + "./" + vm + "/run.sh > " + vm + "/qemu.log 2>&1 &\n" + "pids=\"$pids $!\"\n" + "echo \""
                    + vm + ": pid $!, console " + vm + "/console.log, QMP " + vm + "/qmp.sock\"\n");
            wait.append("ended " + vm + "\n");
        }
        MachineFile first = machines.get(0);
        return RUN_ALL.replace("@CHECKPOINT@", first.checkpoint() + " of " + first.instance())
                .replace("@SEGMENTS@", names.isEmpty() ? "none" : String.join(", ", names))
                .replace(
                        "@CLEAR@",
                        names.stream().map(n -> "b" + names.indexOf(n) + "= ").collect(Collectors.joining()))
                .replace("@OPTIONS@", options)
                .replace("@LINKS@", bridges)
                .replace("@START@", start)
                .replace("@WAIT@", wait);
    }
}
