package io.holdfast.agent.image;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.Image;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * One VM's image folder, see docs/formats.md. Either new and being written (by {@code prepareSnapshot}, {@code writeFrames} and {@code seal}), or
 * opened and read-only. Writers of different files may be different threads; {@code seal} comes last.
 */
public final class ImageFolder implements Image {
    /** The VM's RAM. */
    public static final String RAM = "ram.img";
    /** Device state and all of the stream that is not pages. */
    public static final String DEVICES = "devices.bin";
    /** What the image is; written last. */
    public static final String MACHINE = "machine.json";
    /** Copy of the kernel. */
    public static final String KERNEL = "kernel";
    /** Copy of the initrd. */
    public static final String INITRD = "initrd";
    /** Copy of the firmware. */
    public static final String FIRMWARE = "firmware";

    private static final long MAX_FRAMES_FILE = 1L << 30;

    private final String checkpoint;
    private final String instance;
    private final VmSpec spec;
    private final Path folder;
    private final Runnable sealed;

    // Guarded by this.
    private final Map<String, String> digests = new HashMap<>();
    private MachineFile machine;
    private MachineFile.Qemu qemu;
    private List<MachineFile.Nic> nics = List.of();
    private List<MachineFile.Disk> disks = List.of();
    private long takenAtMicros;
    private MachineFile.Ram ram;
    private VmImage.Capture capture;

    /** A new image in an empty folder. */
    ImageFolder(String checkpoint, String instance, VmSpec spec, Path folder, Runnable sealed) {
        this.checkpoint = checkpoint;
        this.instance = instance;
        this.spec = spec;
        this.folder = folder;
        this.sealed = sealed;
    }

    /** A complete image. */
    private ImageFolder(Path folder, MachineFile machine) {
        this(machine.checkpoint(), machine.instance(), machine.vm(), folder, () -> {});
        this.machine = machine;
    }

    /** The folder behind a port's image. */
    public static ImageFolder of(Image image) {
        if (image instanceof ImageFolder f) {
            return f;
        }
        throw new IllegalArgumentException("not an image folder: " + image);
    }

    /** Opens a complete image and checks the sizes and digests of its files. */
    public static ImageFolder open(Path folder, String checkpoint, String vm) throws IOException {
        Path machineFile = folder.resolve(MACHINE);
        if (!Files.isRegularFile(machineFile, LinkOption.NOFOLLOW_LINKS)) {
            throw new StreamException(machineFile + " is missing: the image is not complete");
        }
        MachineFile machine = MachineFile.read(machineFile);
        if (!vm.equals(machine.vm().name()) || !checkpoint.equals(machine.checkpoint())) {
            throw new StreamException(machineFile + " is of VM " + machine.vm().name() + " of checkpoint "
                    + machine.checkpoint() + ", expected " + vm + " of " + checkpoint);
        }
        var image = new ImageFolder(folder, machine);
        for (VmImage.ImageFile f : machine.files()) {
            Path file = folder.resolve(f.name());
            if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
                throw new StreamException(file + " is missing");
            }
            long size = Files.size(file);
            if (size != f.bytes()) {
                throw new StreamException(file + " has " + size + " bytes, expected " + f.bytes());
            }
            if (f.sha256() != null && !f.sha256().equals(Digests.of(file))) {
                throw new StreamException(file + " does not have the digest that " + MACHINE + " says");
            }
        }
        if (Files.size(folder.resolve(RAM)) != machine.ram().fileBytes()) {
            throw new StreamException(folder.resolve(RAM) + " does not have the size of its RAM blocks");
        }
        DevicesFile devices = image.devices();
        List<RamBlock> inSetup = new ArrayList<>();
        var divided = new boolean[1];
        var parser = new StreamParser(
                new StreamSink() {
                    @Override
                    public void setup(byte[] h, byte[] s, List<RamBlock> blocks) {
                        inSetup.addAll(blocks);
                        divided[0] = Arrays.equals(h, devices.head()) && Arrays.equals(s, devices.setup());
                    }

                    @Override
                    public void armed() {}

                    @Override
                    public void page(int b, long at, java.nio.ByteBuffer p) {}

                    @Override
                    public void zero(int b, long at) {}
                },
                1L << 46);
        try {
            parser.feed(java.nio.ByteBuffer.wrap(devices.head()));
            parser.feed(java.nio.ByteBuffer.wrap(devices.setup()));
            PageMap.decode(devices.pageMap(), machine.ram().blocks());
        } catch (StreamException e) {
            throw new StreamException(folder.resolve(DEVICES) + ": " + e.getMessage(), e);
        }
        if (!divided[0]) {
            throw new StreamException(
                    folder.resolve(DEVICES) + " is not divided where the stream's head and its RAM setup end");
        }
        if (!inSetup.equals(machine.ram().blocks())) {
            throw new StreamException(
                    folder.resolve(DEVICES) + " has other RAM blocks than " + MACHINE + ": " + inSetup);
        }
        return image;
    }

    @Override
    public String checkpoint() {
        return checkpoint;
    }

    @Override
    public String vm() {
        return spec.name();
    }

    @Override
    public Path folder() {
        return folder;
    }

    /** Name of the instance that was checkpointed. */
    public String instance() {
        return instance;
    }

    /** The VM. */
    public VmSpec spec() {
        return spec;
    }

    /** What the image is; complete images only. */
    public synchronized MachineFile machine() {
        if (machine == null) {
            throw new IllegalStateException("the image in " + folder + " is not sealed");
        }
        return machine;
    }

    /** Reads and checks {@code devices.bin}. */
    public DevicesFile devices() throws IOException {
        return DevicesFile.read(folder.resolve(DEVICES));
    }

    /** Opens {@code ram.img} for reading. */
    public FileChannel openRam() throws IOException {
        return FileChannel.open(folder.resolve(RAM), StandardOpenOption.READ);
    }

    /** Makes an empty file of the image. */
    public FileChannel create(String name) throws IOException {
        return FileChannel.open(
                folder.resolve(name), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.READ);
    }

    /** Name of the file that holds a scratch disk. */
    public static String diskFile(String disk) {
        return "disk-" + disk + ".raw";
    }

    /** Takes the digest of a file that is whole and will not change, beforehand: {@link #seal} has less to do. */
    public void digest(String name) throws IOException {
        String digest = Digests.of(folder.resolve(name));
        synchronized (this) {
            digests.put(name, digest);
        }
    }

    private String digestOf(Path file) throws IOException {
        String known;
        synchronized (this) {
            known = digests.get(file.getFileName().toString());
        }
        return known == null ? Digests.of(file) : known;
    }

    /** Says what VM is captured. Before {@link #captured}. */
    public synchronized void describe(
            MachineFile.Qemu describedQemu,
            List<MachineFile.Nic> describedNics,
            List<MachineFile.Disk> describedDisks) {
        qemu = describedQemu;
        nics = describedNics;
        disks = describedDisks;
    }

    /** Writes {@code devices.bin} and notes the RAM, which must be in {@code ram.img} and forced to the disk already. */
    public void captured(long atMicros, RamWriter writer, DevicesFile devices) throws IOException {
        byte[] encoded = devices.encode();
        try (FileChannel c = create(DEVICES)) {
            FileIo.writeFully(c, java.nio.ByteBuffer.wrap(encoded), 0);
            c.force(true);
        }
        FileIo.syncFolder(folder);
        synchronized (this) {
            takenAtMicros = atMicros;
            ram = new MachineFile.Ram(
                    spec.memoryBytes(),
                    RamWriter.fileBytes(writer.blocks()),
                    writer.dataBytes(),
                    RamBlock.PAGE,
                    writer.blocks());
        }
    }

    /** Notes how long the capture took, for {@link #seal}. */
    public synchronized void took(VmImage.Capture figures) {
        capture = figures;
    }

    @Override
    public void writeFrames(int nic, String segment, List<Frame> frames) throws AgentException {
        try {
            byte[] file = Pcapng.encode(spec.name() + "/nic" + nic + " (" + segment + ")", frames);
            FileIo.writeAtomically(framesFile(nic), file);
        } catch (IOException | IllegalArgumentException e) {
            throw failed("cannot write " + framesFile(nic), e);
        }
    }

    @Override
    public List<Frame> readFrames(int nic) throws AgentException {
        Path file = framesFile(nic);
        try {
            if (!Files.exists(file)) {
                String name = file.getFileName().toString();
                if (machine().files().stream().anyMatch(f -> f.name().equals(name))) {
                    throw new StreamException(file + " is missing: frames in flight would be lost");
                }
                return List.of();
            }
            if (Files.size(file) > MAX_FRAMES_FILE) {
                throw new StreamException(file + " is larger than " + MAX_FRAMES_FILE + " bytes");
            }
            return Pcapng.decode(Files.readAllBytes(file));
        } catch (StreamException e) {
            throw corrupt(e);
        } catch (IOException e) {
            throw failed("cannot read " + file, e);
        }
    }

    private Path framesFile(int nic) {
        return folder.resolve("frames-" + nic + ".pcapng");
    }

    @Override
    public VmImage seal() throws AgentException {
        synchronized (this) {
            if (ram == null) {
                throw new IllegalStateException("the image in " + folder + " has no snapshot");
            }
        }
        try {
            List<VmImage.ImageFile> files = new ArrayList<>();
            List<Path> names;
            try (var list = Files.list(folder)) {
                names = list.filter(p -> !p.getFileName().toString().startsWith("."))
                        .filter(p -> !p.getFileName().toString().equals(MACHINE))
                        .sorted()
                        .toList();
            }
            for (Path p : names) {
                String name = p.getFileName().toString();
                files.add(new VmImage.ImageFile(name, Files.size(p), name.equals(RAM) ? null : digestOf(p)));
            }
            MachineFile m;
            synchronized (this) {
                m = new MachineFile(
                        MachineFile.FORMAT,
                        MachineFile.VERSION,
                        checkpoint,
                        instance,
                        spec,
                        takenAtMicros,
                        qemu,
                        ram,
                        nics,
                        disks,
                        files);
                machine = m;
            }
            byte[] encoded = m.encode();
            FileIo.writeAtomically(folder.resolve(MACHINE), encoded);
            FileIo.syncFolder(folder.getParent());
            sealed.run();
            files.add(new VmImage.ImageFile(
                    MACHINE,
                    encoded.length,
                    HexFormat.of().formatHex(Digests.sha256().digest(encoded))));
            return new VmImage(spec.name(), m.ram().bytes(), m.ram().dataBytes(), files, capture);
        } catch (IOException e) {
            throw failed("cannot complete the image in " + folder, e);
        }
    }

    /** A NIC's segment. */
    String segment(int nic) {
        List<NicSpec> all = spec.nics();
        return nic < all.size() ? all.get(nic).segment() : "";
    }

    static AgentException corrupt(IOException e) {
        return new AgentException(
                ErrorCode.REPOSITORY_CORRUPT,
                e.getMessage(),
                "remove the local image and restore again from the repository, or take another checkpoint",
                e);
    }

    /** What a failed access to the image folder is called: NO_SPACE when it is full, else IO_FAILED. */
    public static AgentException failed(String what, Throwable e) {
        String message = String.valueOf(e.getMessage());
        if (message.contains("No space left") || message.contains("quota exceeded")) {
            return new AgentException(
                    ErrorCode.NO_SPACE,
                    what + ": " + message,
                    "give the image folder more space, remove what else is there",
                    e);
        }
        return new AgentException(
                ErrorCode.IO_FAILED, what + ": " + message, "see the disk and the rights of the image folder", e);
    }
}
