package io.holdfast.agent.image;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.spec.DiskSpec;
import io.holdfast.schemas.spec.Sizes;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;

/** Images under one folder: {@code <folder>/<checkpoint>/<vm>/}. Thread-safe. */
public final class FolderImageStore implements ImageStore {
    /** The host's figures of a cut, beside the images of its VMs. */
    public static final String FIGURES = "cut.json";

    /** Left in a VM's image folder by the storage service once the image is in the repository. */
    public static final String ARCHIVED = "archived";

    /** Room for device state, ROMs, frames in flight and descriptions of a VM. */
    private static final long EXTRA = 96L << 20;

    private static final Pattern NAME = Pattern.compile("[a-z0-9]([a-z0-9-]{0,78}[a-z0-9])?");

    private final Path folder;
    private final Map<Path, Long> reserved = new ConcurrentHashMap<>();

    /** A store in that folder, which is made when missing. */
    public FolderImageStore(Path folder) throws IOException {
        this.folder = Files.createDirectories(folder).toRealPath();
    }

    @Override
    public Image create(String checkpoint, InstanceLayout layout, String vm) throws AgentException {
        Path of = folderOf(checkpoint, vm);
        VmSpec spec = layout.spec().vm(vm);
        long needed = neededBytes(spec);
        synchronized (this) {
            long free = freeBytes();
            if (free < needed) {
                throw new AgentException(
                        ErrorCode.NO_SPACE,
                        "image folder " + folder + " has " + (free >> 20) + " MiB left, the image of " + vm
                                + " can take " + (needed >> 20) + " MiB",
                        "remove old images or give the image folder more space");
            }
            reserved.put(of, needed);
        }
        try {
            Files.createDirectories(of.getParent());
            Files.createDirectory(of);
            return new ImageFolder(checkpoint, layout.instance(), spec, of, () -> reserved.remove(of));
        } catch (FileAlreadyExistsException e) {
            reserved.remove(of);
            throw new AgentException(ErrorCode.IO_FAILED, "there is an image in " + of + " already", "remove it", e);
        } catch (IOException e) {
            reserved.remove(of);
            throw ImageFolder.failed("cannot make " + of, e);
        }
    }

    /** The most that an image of a VM can take, in bytes. */
    public static long neededBytes(VmSpec spec) {
        long scratch = spec.disks().stream()
                .filter(d -> d.mode() == DiskSpec.Mode.scratch)
                .mapToLong(d -> Sizes.parse(d.size()))
                .sum();
        return spec.memoryBytes() + scratch + EXTRA;
    }

    @Override
    public Image open(String checkpoint, String vm) throws AgentException {
        Path of = folderOf(checkpoint, vm);
        if (!Files.isDirectory(of)) {
            throw new AgentException(
                    ErrorCode.IO_FAILED,
                    "there is no image of " + vm + " of " + checkpoint + " in " + folder,
                    "pull the checkpoint from the repository");
        }
        try {
            return ImageFolder.open(of, checkpoint, vm);
        } catch (StreamException e) {
            throw ImageFolder.corrupt(e);
        } catch (IOException e) {
            throw ImageFolder.failed("cannot read the image in " + of, e);
        }
    }

    @Override
    public long freeBytes() {
        long taken = reserved.values().stream().mapToLong(Long::longValue).sum();
        try {
            return Math.max(0, Files.getFileStore(folder).getUsableSpace() - taken);
        } catch (IOException e) {
            return 0;
        }
    }

    @Override
    public void delete(String checkpoint) throws AgentException {
        Path of = folder.resolve(checked(checkpoint));
        reserved.keySet().removeIf(p -> p.startsWith(of));
        try {
            FileIo.deleteTree(of);
            FileIo.syncFolder(folder);
        } catch (IOException e) {
            throw ImageFolder.failed("cannot remove " + of, e);
        }
    }

    @Override
    public void prune(String instance, int keep) throws AgentException {
        Map<String, Long> archived = new HashMap<>();
        for (String checkpoint : present()) {
            long taken = archivedAt(folder.resolve(checkpoint), instance);
            if (taken >= 0) {
                archived.put(checkpoint, taken);
            }
        }
        List<String> newestFirst = archived.keySet().stream()
                .sorted(Comparator.comparing((String c) -> archived.get(c))
                        .thenComparing(Comparator.naturalOrder())
                        .reversed())
                .toList();
        for (String old : newestFirst.subList(Math.min(Math.max(0, keep), newestFirst.size()), newestFirst.size())) {
            delete(old);
        }
    }

    /** When the checkpoint was taken if all its images here are complete, of that instance and archived; else -1. */
    private static long archivedAt(Path checkpoint, String instance) {
        long taken = -1;
        try (var list = Files.list(checkpoint)) {
            for (Path vm : list.filter(Files::isDirectory).toList()) {
                if (!Files.exists(vm.resolve(ARCHIVED)) || !Files.exists(vm.resolve(ImageFolder.MACHINE))) {
                    return -1;
                }
                MachineFile machine = MachineFile.read(vm.resolve(ImageFolder.MACHINE));
                if (!instance.equals(machine.instance())) {
                    return -1;
                }
                taken = Math.max(taken, machine.takenAtMicros());
            }
            return taken;
        } catch (IOException e) {
            return -1; // not readable: not ours to remove
        }
    }

    @Override
    public List<String> present() {
        try (var list = Files.list(folder)) {
            return list.filter(Files::isDirectory)
                    .map(p -> p.getFileName().toString())
                    .filter(n -> NAME.matcher(n).matches())
                    .sorted()
                    .toList();
        } catch (IOException e) {
            return List.of();
        }
    }

    @Override
    public void writeFigures(String checkpoint, CutFigures.HostCut figures) throws AgentException {
        Path of = folder.resolve(checked(checkpoint));
        try {
            Files.createDirectories(of);
            FileIo.writeAtomically(
                    of.resolve(FIGURES),
                    EventCodec.json().writerWithDefaultPrettyPrinter().writeValueAsBytes(figures));
        } catch (IOException e) {
            throw ImageFolder.failed("cannot write " + of.resolve(FIGURES), e);
        }
    }

    private Path folderOf(String checkpoint, String vm) throws AgentException {
        return folder.resolve(checked(checkpoint)).resolve(checked(vm));
    }

    private static String checked(String name) throws AgentException {
        if (name == null || !NAME.matcher(name).matches()) {
            throw new AgentException(
                    ErrorCode.INTERNAL, "'" + name + "' is not a valid name", "use lower-case letters, digits and -");
        }
        return name;
    }
}
