package io.holdfast.agent.qemu;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.image.DevicesFile;
import io.holdfast.agent.image.FolderImageStore;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.MachineFile;
import io.holdfast.agent.image.RamBlock;
import io.holdfast.agent.image.RamWriter;
import io.holdfast.agent.image.StreamParser;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.DiskSpec;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.Sizes;
import io.holdfast.schemas.spec.SpecNormalizer;
import io.holdfast.schemas.spec.SpecReader;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Makes an image of a plain QEMU migration file: what {@code migrate} writes to {@code file:} or {@code exec:}, of a VM that was started
 * like ours (docs/formats.md, "The machine"; an export's {@code run.sh} starts it so). What the file cannot say (NICs' segments, disks, boot
 * files) says a spec with that one VM. What file and spec do not agree on is refused.
 *
 * <p>{@code java ... Importer IMAGES SPEC FILE [DISK=FILE]...} writes {@code IMAGES/<checkpoint>/<vm>/} and
 * {@code IMAGES/<checkpoint>/checkpoint.json}, the checkpoint's manifest without archives. Exit status 0 done, 1 failed, 2 wrong use.
 */
public final class Importer {
    private static final long OTHER_BLOCKS = 256L << 20;
    private static final int PIECE = 1 << 20;
    private static final Pattern Q35 = Pattern.compile("pc-q35-(\\d+\\.\\d+)");
    private static final Pattern PCI_DEVICE = Pattern.compile("0000:00:([0-9a-f]{2})\\.0/virtio-(net|blk)");
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyyMMdd't'HHmmss'z'", Locale.ROOT).withZone(ZoneOffset.UTC);

    private final PrintStream out;

    public Importer(PrintStream out) {
        this.out = out;
    }

    /** What is refused, with what to do about it. */
    public static final class RefusedException extends Exception {
        private static final long serialVersionUID = 1;

        RefusedException(String message) {
            super(message);
        }
    }

    public static void main(String[] args) {
        Map<String, Path> disks = new HashMap<>();
        for (int i = 3; i < args.length; i++) {
            int at = args[i].indexOf('=');
            if (at > 0) {
                disks.put(args[i].substring(0, at), Path.of(args[i].substring(at + 1)));
            }
        }
        if (args.length < 3 || disks.size() != args.length - 3) {
            System.err.println("usage: Importer IMAGES SPEC FILE [DISK=FILE]...");
            System.exit(2);
        }
        try {
            String text = Files.readString(Path.of(args[1]));
            String id = new Importer(System.out).run(Path.of(args[0]), text, Path.of(args[2]), disks);
            System.out.println("checkpoint " + id);
        } catch (IOException | AgentException | RefusedException e) {
            System.err.println("import: " + e.getMessage());
            System.exit(1);
        }
    }

    /**
     * Imports.
     *
     * @param images folder for the image
     * @param spec a network spec with one VM, YAML or JSON
     * @param file the migration file
     * @param disks the content of each scratch disk, by its name
     * @return id of the checkpoint that it became; on failure nothing of it is left
     */
    public String run(Path images, String spec, Path file, Map<String, Path> disks)
            throws IOException, AgentException, RefusedException {
        NetworkSpec network;
        try {
            network = SpecNormalizer.normalize(SpecReader.read(spec));
        } catch (InvalidEventException e) {
            throw new RefusedException("the spec is not valid: " + e.getMessage());
        }
        if (network.vms().size() != 1) {
            throw new RefusedException("the spec has " + network.vms().size()
                    + " VMs; a migration file is of one VM: give a spec with that one");
        }
        VmSpec vm = network.vms().get(0);
        if (vm.accelerator() == Accelerator.auto) {
            throw new RefusedException(
                    "the spec must say accelerator: kvm or tcg, under which the VM ran: a state of one"
                            + " does not load under the other, and the file does not say it");
        }
        Matcher machine = Q35.matcher(vm.machine());
        if (!machine.matches()) {
            throw new RefusedException(
                    "machine " + vm.machine() + " cannot be imported: it has no versions, so that nobody"
                            + " knows which QEMU loads it; a pc-q35-N.M can");
        }
        TreeSet<String> wanted = new TreeSet<>();
        for (DiskSpec d : vm.disks()) {
            if (d.mode() == DiskSpec.Mode.scratch) {
                wanted.add(d.name());
            }
        }
        if (!wanted.equals(new TreeSet<>(disks.keySet()))) {
            throw new RefusedException("the scratch disks of the spec are " + wanted + ", given are "
                    + new TreeSet<>(disks.keySet()) + ": give the content of each, as it was when the file was written,"
                    + " as NAME=FILE");
        }
        Instant now = Files.getLastModifiedTime(file).toInstant();
        String checkpoint = "cp-" + TIME.format(now) + "-"
                + HexFormat.of()
                        .formatHex(
                                new BigInteger(24, new SecureRandom())
                                        .setBit(24)
                                        .toByteArray(),
                                1,
                                4);
        Map<String, Integer> vnis = new TreeMap<>();
        network.segments().forEach(s -> vnis.put(s.name(), vnis.size() + 1));
        InstanceLayout layout = new InstanceLayout(
                network.name(),
                network,
                List.of(new InstanceLayout.HostPart("imported", "127.0.0.1", List.of(vm.name()))),
                vnis);
        FolderImageStore store = new FolderImageStore(images);
        boolean done = false;
        try {
            ImageFolder image = ImageFolder.of(store.create(checkpoint, layout, vm.name()));
            String version = machine.group(1) + ".0";
            image.describe(
                    new MachineFile.Qemu(
                            version, vm.machine(), vm.cpu(), vm.accelerator().name(), false),
                    nics(network, vm),
                    disks(vm, disks, image.folder()));
            boot(vm, image.folder());
            read(file, vm, image, now);
            image.seal();
            CheckpointManifest manifest = new CheckpointManifest(
                    1,
                    checkpoint,
                    network.name(),
                    "imported",
                    now,
                    layout,
                    List.of(),
                    List.of(new VmState(vm.name(), "paused", 0, vm.accelerator().name(), false, version, null)),
                    new CutFigures(List.of()));
            Files.write(
                    images.resolve(checkpoint).resolve("checkpoint.json"),
                    EventCodec.json().writerWithDefaultPrettyPrinter().writeValueAsBytes(manifest));
            out.printf(
                    "%s: %d MiB of RAM, %d MiB of data%n",
                    vm.name(),
                    image.machine().ram().bytes() >> 20,
                    image.machine().ram().dataBytes() >> 20);
            done = true;
            return checkpoint;
        } finally {
            if (!done) {
                store.delete(checkpoint);
            }
        }
    }

    private static List<MachineFile.Nic> nics(NetworkSpec network, VmSpec vm) {
        List<MachineFile.Nic> nics = new ArrayList<>();
        vm.nics().forEach(n -> network.segments().stream()
                .filter(s -> s.name().equals(n.segment()))
                .forEach(s -> nics.add(new MachineFile.Nic(n.mac(), s.mtu()))));
        return nics;
    }

    private static List<MachineFile.Disk> disks(VmSpec vm, Map<String, Path> content, Path folder)
            throws IOException, RefusedException {
        List<MachineFile.Disk> disks = new ArrayList<>();
        for (DiskSpec d : vm.disks()) {
            if (d.mode() == DiskSpec.Mode.scratch) {
                Path from = content.get(d.name());
                long bytes = Sizes.parse(d.size());
                if (Files.size(from) != bytes) {
                    throw new RefusedException("disk " + d.name() + ": " + from + " has " + Files.size(from)
                            + " bytes, the spec says " + bytes);
                }
                String name = ImageFolder.diskFile(d.name());
                copy(from, folder.resolve(name));
                disks.add(new MachineFile.Disk(d.name(), d.mode().name(), name, bytes, null));
            } else {
                Path file = Path.of(d.file());
                disks.add(new MachineFile.Disk(d.name(), d.mode().name(), d.file(), Files.size(file), digest(file)));
            }
        }
        return disks;
    }

    private static String digest(Path file) throws IOException {
        try (var in = new DigestInputStream(Files.newInputStream(file), MessageDigest.getInstance("SHA-256"))) {
            in.transferTo(java.io.OutputStream.nullOutputStream());
            return HexFormat.of().formatHex(in.getMessageDigest().digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void copy(Path from, Path to) throws IOException {
        Files.copy(from, to);
        try (FileChannel c = FileChannel.open(to, StandardOpenOption.WRITE)) {
            c.force(true);
        }
    }

    private static void boot(VmSpec vm, Path folder) throws IOException {
        Map<String, String> files = new TreeMap<>();
        files.put(ImageFolder.KERNEL, vm.kernel() == null ? "" : vm.kernel());
        files.put(ImageFolder.INITRD, vm.initrd() == null ? "" : vm.initrd());
        files.put(ImageFolder.FIRMWARE, vm.firmware() == null ? "" : vm.firmware());
        for (var f : files.entrySet()) {
            if (!f.getValue().isEmpty()) {
                copy(Path.of(f.getValue()), folder.resolve(f.getKey()));
            }
        }
    }

    private static void read(Path file, VmSpec vm, ImageFolder image, Instant at) throws IOException, RefusedException {
        DevicesFile devices;
        RamWriter pages;
        try (FileChannel ram = image.create(ImageFolder.RAM);
                FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
            pages = new RamWriter(ram, () -> {}, () -> {});
            var parser = new StreamParser(pages, vm.memoryBytes() + OTHER_BLOCKS);
            ByteBuffer piece = ByteBuffer.allocateDirect(PIECE);
            boolean checked = false;
            while (in.read(piece) >= 0) {
                parser.feed(piece.flip());
                piece.clear();
                if (!checked && pages.blocks() != null) {
                    checkRam(pages.blocks(), vm);
                    checked = true;
                }
            }
            devices = pages.finish(parser.end());
        }
        checkMachine(devices, vm);
        image.captured(at.getEpochSecond() * 1_000_000, pages, devices);
    }

    private static void checkRam(List<RamBlock> blocks, VmSpec vm) throws RefusedException {
        for (RamBlock b : blocks) {
            if (b.name().equals("ram0")) {
                if (b.bytes() != vm.memoryBytes()) {
                    throw new RefusedException(
                            "the file's VM has " + b.bytes() + " bytes of RAM, the spec's " + vm.memoryBytes());
                }
                return;
            }
        }
        throw new RefusedException("the file has no RAM block ram0, only "
                + blocks.stream()
                        .map(b -> b.name() + " (" + b.bytes() + " bytes)")
                        .toList()
                + ": the VM must have been started with -machine ...,memory-backend=ram0 and a memory backend of that id, as"
                + " docs/formats.md says");
    }

    /** Machine type, and NICs and disks at the places where a restart has them. */
    private static void checkMachine(DevicesFile devices, VmSpec vm) throws RefusedException {
        byte[] head = devices.head();
        // magic, version, section type, length, then the machine's name
        String machine = head.length < 13
                ? ""
                : new String(head, 13, head.length - 13, java.nio.charset.StandardCharsets.US_ASCII);
        if (!machine.equals(vm.machine())) {
            throw new RefusedException("the file is of a machine " + machine + ", the spec's is " + vm.machine());
        }
        JsonNode description;
        try {
            description = EventCodec.json().readTree(devices.description());
        } catch (JsonProcessingException e) {
            throw new RefusedException("the file's description of its devices is broken: " + e.getOriginalMessage());
        } catch (IOException e) {
            throw new RefusedException("the file's description of its devices is broken: " + e.getMessage());
        }
        TreeSet<String> has = new TreeSet<>();
        for (JsonNode d : description.path("devices")) {
            Matcher m = PCI_DEVICE.matcher(d.path("name").asText());
            if (m.matches()) {
                has.add(m.group());
            }
        }
        TreeSet<String> wants = new TreeSet<>();
        for (int i = 0; i < vm.nics().size(); i++) {
            wants.add(String.format(Locale.ROOT, "0000:00:%02x.0/virtio-net", QemuCommand.FIRST_NIC_SLOT + i));
        }
        for (int i = 0; i < vm.disks().size(); i++) {
            wants.add(String.format(Locale.ROOT, "0000:00:%02x.0/virtio-blk", QemuCommand.FIRST_DISK_SLOT + i));
        }
        if (!has.equals(wants)) {
            throw new RefusedException("the file's VM has the NICs and disks " + has + ", the spec's would have "
                    + wants + ": NICs are at PCI slots from 2 on, disks from 16 on");
        }
    }
}
