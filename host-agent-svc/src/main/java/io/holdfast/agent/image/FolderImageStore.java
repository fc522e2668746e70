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
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import org.jboss.logging.Logger;

/** Images under one folder: {@code <folder>/<checkpoint>/<vm>/}. Thread-safe. */
public final class FolderImageStore implements ImageStore {
    private static final Logger LOG = Logger.getLogger(FolderImageStore.class);
    /** The host's figures of a cut, beside the images of its VMs. */
    public static final String FIGURES = "cut.json";

    /** Left in a VM's image folder by the storage service once the image is in the repository. */
    public static final String ARCHIVED = "archived";

    /** Before the id of a restore's operation: the storage service's note that the restore needs the checkpoint's images. */
    public static final String CLAIM = "claim-";

    /** Locked (shared) by who claims a checkpoint, and by who looks for claims before it removes one. */
    public static final String LOCK = ".lock";

    /** Before the name of a checkpoint that is being removed. */
    private static final String GONE = ".gone-";

    /** Room for device state, ROMs, frames in flight and descriptions of a VM. */
    private static final long EXTRA = 96L << 20;

    private static final Pattern NAME = Pattern.compile("[a-z0-9]([a-z0-9-]{0,78}[a-z0-9])?");

    private final Path folder;
    private final Object pruning = new Object();
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

    /** A checkpoint whose images here are all complete, archived, and of one instance. */
    private record Archived(String checkpoint, String instance, long takenAtMicros, Instant used) {}

    @Override
    public List<String> prune(Keep keep, Set<String> here, Set<String> inUse, Instant now) {
        synchronized (pruning) { // one at a time: the lock of the folder is the whole process's
            return prune0(keep, here, inUse, now);
        }
    }

    /** What an agent that died was removing. */
    private void removeLeft() {
        try (var list = Files.list(folder)) {
            for (Path p : list.filter(f -> f.getFileName().toString().startsWith(GONE))
                    .toList()) {
                FileIo.deleteTree(p);
            }
        } catch (IOException e) {
            LOG.warnf(e, "event=removed-images-left folder=%s", folder);
        }
    }

    private List<String> prune0(Keep keep, Set<String> here, Set<String> inUse, Instant now) {
        removeLeft();
        Map<String, List<Archived>> byInstance = new HashMap<>();
        for (String checkpoint : present()) {
            Archived a = archived(checkpoint);
            if (a != null) {
                byInstance.computeIfAbsent(a.instance(), i -> new ArrayList<>()).add(a);
            }
        }
        List<String> removed = new ArrayList<>();
        for (var e : byInstance.entrySet()) {
            List<Archived> newestFirst = e.getValue();
            newestFirst.sort(Comparator.comparingLong(Archived::takenAtMicros)
                    .thenComparing(Archived::checkpoint)
                    .reversed());
            for (int i = 0; i < newestFirst.size(); i++) {
                Archived a = newestFirst.get(i);
                boolean old = !here.contains(e.getKey())
                        && a.used().plus(keep.unused()).isBefore(now);
                if ((i >= keep.newest() || old) && !inUse.contains(a.checkpoint())) {
                    remove(a.checkpoint(), now.minus(keep.claimed()), removed);
                }
            }
        }
        return removed;
    }

    private void remove(String checkpoint, Instant claimedSince, List<String> removed) {
        Path of = folder.resolve(checkpoint);
        Path gone = folder.resolve(GONE + checkpoint);
        try {
            // Who claims does so before this, and is seen, or after it, and finds nothing.
            try (FileChannel lock = FileChannel.open(
                            folder.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                    FileLock held = lock.tryLock()) { // never waits for a storage service that stands
                if (held == null) {
                    LOG.infof(
                            "event=image-kept checkpoint=%s reason=\"another process has locked the folder\"",
                            checkpoint);
                    return; // the next prune looks again
                }
                if (claimed(of, claimedSince)) {
                    return;
                }
                Files.move(of, gone, StandardCopyOption.ATOMIC_MOVE);
            }
            FileIo.deleteTree(gone);
            FileIo.syncFolder(folder);
            removed.add(checkpoint);
        } catch (IOException e) {
            LOG.warnf(e, "event=image-not-removed checkpoint=%s", checkpoint);
        }
    }

    private static boolean claimed(Path checkpoint, Instant since) throws IOException {
        try (var list = Files.list(checkpoint)) {
            for (Path p : list.filter(f -> f.getFileName().toString().startsWith(CLAIM))
                    .toList()) {
                if (Files.getLastModifiedTime(p).toInstant().isAfter(since)) {
                    return true;
                }
            }
            return false;
        }
    }

    @Override
    public void unclaim(String operation) {
        if (!NAME.matcher(operation).matches()) {
            return;
        }
        for (String checkpoint : present()) {
            Path of = folder.resolve(checkpoint);
            try {
                if (Files.deleteIfExists(of.resolve(CLAIM + operation))) {
                    Files.delete(of); // nothing was pulled
                }
            } catch (DirectoryNotEmptyException e) {
                LOG.debugf("event=claim-given-up checkpoint=%s operation=%s", checkpoint, operation);
            } catch (IOException e) {
                LOG.warnf(e, "event=claim-not-removed checkpoint=%s operation=%s", checkpoint, operation);
            }
        }
    }

    /** Null if not all images here are complete and archived, or they are of several instances. */
    private Archived archived(String checkpoint) {
        Path of = folder.resolve(checkpoint);
        String instance = null;
        long taken = -1;
        try (var list = Files.list(of)) {
            Instant used = Files.getLastModifiedTime(of).toInstant(); // a claim made or given up counts
            for (Path vm : list.filter(Files::isDirectory).toList()) {
                Path mark = vm.resolve(ARCHIVED);
                if (!Files.exists(mark) || !Files.exists(vm.resolve(ImageFolder.MACHINE))) {
                    return null;
                }
                MachineFile machine = MachineFile.read(vm.resolve(ImageFolder.MACHINE));
                if (instance != null && !instance.equals(machine.instance())) {
                    return null;
                }
                instance = machine.instance();
                taken = Math.max(taken, machine.takenAtMicros());
                Instant marked = Files.getLastModifiedTime(mark).toInstant();
                used = marked.isAfter(used) ? marked : used;
            }
            return instance == null ? null : new Archived(checkpoint, instance, taken, used);
        } catch (IOException e) {
            return null; // not readable: not ours to remove
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
