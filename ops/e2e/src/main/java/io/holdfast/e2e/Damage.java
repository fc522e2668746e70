package io.holdfast.e2e;

import io.holdfast.schemas.view.InstanceView;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** What can happen to hosts. */
public final class Damage {
    private Damage() {}

    /** Kills the QEMU of a VM, by the pid that the coordinator tells; refuses a pid that is not that VM's QEMU. */
    public static void killVm(InstanceView.VmView vm, String instance) {
        String command = commandLine(vm.pid());
        if (!command.contains("qemu") || !command.contains(instance)) {
            throw new IllegalStateException("pid " + vm.pid() + " is not the QEMU of " + vm.vm() + ": " + command);
        }
        ProcessHandle.of(vm.pid()).ifPresent(ProcessHandle::destroyForcibly);
        Await.until("QEMU " + vm.pid() + " is gone", Duration.ofSeconds(10), () -> !isAlive(vm.pid()));
    }

    /** Kills every QEMU of an instance and returns how many. */
    public static int killAll(InstanceView instance) {
        List<InstanceView.VmView> alive =
                instance.vms().stream().filter(v -> v.pid() > 0).toList();
        alive.forEach(v -> killVm(v, instance.instance()));
        return alive.size();
    }

    /** Deletes a checkpoint's images on every host; returns how many bytes they were, holes included. */
    public static long deleteImages(Lab lab, String checkpoint) {
        long bytes = 0;
        for (Lab.Host h : lab.hosts().values()) {
            Path images = h.images().resolve(checkpoint);
            for (Path p : tree(images)) {
                bytes += p.toFile().isFile() ? p.toFile().length() : 0;
            }
            // The storage service marks images as archived after the checkpoint is complete: a file may come meanwhile.
            Await.until("no file is left in " + images, Duration.ofSeconds(10), () -> {
                tree(images).forEach(Damage::delete);
                return !Files.exists(images);
            });
        }
        return bytes;
    }

    private static void delete(Path p) {
        try {
            Files.delete(p);
        } catch (DirectoryNotEmptyException | NoSuchFileException e) {
            // looked at again
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Everything at and under a folder, deepest first. */
    public static List<Path> tree(Path folder) {
        if (!Files.exists(folder)) {
            return new ArrayList<>();
        }
        try (Stream<Path> all = Files.walk(folder)) {
            return all.sorted(Comparator.reverseOrder()).toList();
        } catch (NoSuchFileException | UncheckedIOException e) {
            return new ArrayList<>(); // something went while it was looked at
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Removes a folder with all it holds; what is gone already is no matter. */
    public static void deleteTree(Path folder) {
        tree(folder).forEach(Damage::delete);
    }

    /** Whether a process runs (a zombie does not). */
    public static boolean isAlive(long pid) {
        try {
            String stat = Files.readString(Path.of("/proc/" + pid + "/stat"), StandardCharsets.ISO_8859_1);
            return "ZX".indexOf(stat.charAt(stat.lastIndexOf(')') + 2)) < 0;
        } catch (IOException e) {
            return false;
        }
    }

    /** Command line of a process, words separated by spaces; empty when it is gone. */
    public static String commandLine(long pid) {
        try {
            return Files.readString(Path.of("/proc/" + pid + "/cmdline"), StandardCharsets.ISO_8859_1)
                    .replace('\0', ' ');
        } catch (IOException e) {
            return "";
        }
    }

    /** Pids of all processes whose command line holds that text. */
    public static List<Long> processesWith(String text) {
        List<Long> pids = new ArrayList<>();
        try (Stream<Path> all = Files.list(Path.of("/proc"))) {
            for (Path p : all.toList()) {
                String name = p.getFileName().toString();
                if (name.chars().allMatch(Character::isDigit)
                        && commandLine(Long.parseLong(name)).contains(text)) {
                    pids.add(Long.parseLong(name));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return pids;
    }
}
