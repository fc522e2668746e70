package io.holdfast.agent.image;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * {@code machine.json}: what a VM's image is and what a host must have to restart it. Written last: an image without it is not complete.
 *
 * @param format {@link #FORMAT}
 * @param version {@link #VERSION}
 * @param takenAtMicros when QEMU armed the snapshot, microseconds since the epoch
 * @param nics the VM's NICs as QEMU has them, in order
 * @param disks the VM's disks, in order
 * @param files every other file of the image, {@code ram.img} without a digest
 */
public record MachineFile(
        String format,
        int version,
        String checkpoint,
        String instance,
        VmSpec vm,
        long takenAtMicros,
        Qemu qemu,
        Ram ram,
        List<Nic> nics,
        List<Disk> disks,
        List<VmImage.ImageFile> files) {
    public static final String FORMAT = "holdfast-machine";
    public static final int VERSION = 1;
    private static final int MAX_BYTES = 4 << 20;
    private static final Pattern FILE_NAME = Pattern.compile("[a-z0-9][a-z0-9.-]{0,79}");

    public MachineFile {
        nics = nics == null ? List.of() : List.copyOf(nics);
        disks = disks == null ? List.of() : List.copyOf(disks);
        files = files == null ? List.of() : List.copyOf(files);
    }

    /**
     * The QEMU that wrote the image.
     *
     * @param version such as 10.0.2
     * @param machine versioned machine type
     * @param cpu CPU model
     * @param accelerator kvm or tcg
     * @param hugepages whether RAM was huge pages
     */
    public record Qemu(String version, String machine, String cpu, String accelerator, boolean hugepages) {}

    /**
     * The RAM.
     *
     * @param bytes the guest's RAM
     * @param fileBytes size of {@code ram.img}
     * @param dataBytes bytes of pages that are not zero
     * @param pageBytes size of a page
     * @param blocks blocks with their places, in the stream's order
     */
    public record Ram(long bytes, long fileBytes, long dataBytes, int pageBytes, List<RamBlock> blocks) {
        public Ram {
            blocks = List.copyOf(blocks);
        }
    }

    /** A NIC: what the guest sees of it. */
    public record Nic(String mac, int mtu) {}

    /**
     * A disk.
     *
     * @param mode readonly or scratch
     * @param file readonly: path on the host, which must hold the same content at a restart; scratch: file of the image
     * @param bytes its size
     * @param sha256 readonly: digest of the content
     */
    public record Disk(String name, String mode, String file, long bytes, String sha256) {}

    byte[] encode() {
        try {
            return EventCodec.json().writerWithDefaultPrettyPrinter().writeValueAsBytes(this);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Reads and checks a file. */
    static MachineFile read(Path file) throws IOException {
        long size = Files.size(file);
        if (size > MAX_BYTES) {
            throw new StreamException(file + " has " + size + " bytes, allowed are " + MAX_BYTES);
        }
        MachineFile machine;
        try {
            var tree = EventCodec.json().readTree(new String(Files.readAllBytes(file), StandardCharsets.UTF_8));
            String format = tree.path("format").asText();
            int version = tree.path("version").asInt();
            if (!format.equals(FORMAT) || version != VERSION) {
                throw new StreamException(file + ": format '" + format + "' version " + version + " is not known, only "
                        + FORMAT + " version " + VERSION);
            }
            machine = EventCodec.json().treeToValue(tree, MachineFile.class);
        } catch (JsonProcessingException e) {
            throw new StreamException(file + " is not valid: " + e.getOriginalMessage(), e);
        }
        String problem = machine.problem();
        if (problem != null) {
            throw new StreamException(file + ": " + problem);
        }
        return machine;
    }

    private String problem() {
        if (vm == null || vm.name() == null || vm.memory() == null || qemu == null || ram == null) {
            return "vm, qemu or ram is missing";
        }
        if (ram.pageBytes() != RamBlock.PAGE
                || ram.blocks().isEmpty()
                || ram.blocks().size() > StreamParser.MAX_BLOCKS) {
            return "RAM has " + ram.blocks().size() + " blocks of pages of " + ram.pageBytes();
        }
        long end = 0;
        Set<String> names = new HashSet<>();
        for (RamBlock b : ram.blocks()) {
            if (b.name() == null
                    || b.bytes() <= 0
                    || b.bytes() > RamBlock.MAX_BYTES
                    || b.bytes() % RamBlock.PAGE != 0
                    || b.offset() < end
                    || b.offset() % RamBlock.ALIGNMENT != 0
                    || b.offset() > 1L << 46
                    || !names.add(b.name())) {
                return "RAM block " + b + " is not valid";
            }
            end = b.offset() + b.bytes();
        }
        if (ram.fileBytes() != end) {
            return "RAM blocks end at " + end + ", the file at " + ram.fileBytes();
        }
        Set<String> fileNames = new HashSet<>();
        for (VmImage.ImageFile f : files) {
            if (f.name() == null
                    || !FILE_NAME.matcher(f.name()).matches()
                    || f.bytes() < 0
                    || !fileNames.add(f.name())) {
                return "file " + f + " is not valid";
            }
            if (f.sha256() == null && !f.name().equals(ImageFolder.RAM)) {
                return "file " + f.name() + " has no digest";
            }
        }
        if (!fileNames.contains(ImageFolder.RAM) || !fileNames.contains(ImageFolder.DEVICES)) {
            return ImageFolder.RAM + " or " + ImageFolder.DEVICES + " is not listed";
        }
        for (Disk d : disks) {
            if (d.name() == null
                    || d.mode() == null
                    || d.file() == null
                    || (d.mode().equals("scratch") && !fileNames.contains(d.file()))) {
                return "disk " + d + " is not valid";
            }
        }
        return null;
    }
}
