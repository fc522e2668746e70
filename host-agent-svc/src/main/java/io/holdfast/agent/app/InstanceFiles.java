package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.spec.Names;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The folders {@code instances/<instance>/}: {@code layout.json}, {@code state.json} and {@code vms/<vm>/}. The two files
 * are the last to be removed. One call at a time per instance.
 */
final class InstanceFiles {
    private final Path top;

    InstanceFiles(Path top) throws IOException {
        this.top = top;
        Files.createDirectories(top);
    }

    Path folder(String instance) {
        return top.resolve(instance);
    }

    Path vmFolder(String instance, String vm) {
        return folder(instance).resolve("vms").resolve(vm);
    }

    /** Instances that have a folder here. */
    List<String> present() throws IOException {
        List<String> names = new ArrayList<>();
        try (DirectoryStream<Path> dir = Files.newDirectoryStream(top)) {
            for (Path p : dir) {
                String name = p.getFileName().toString();
                if (Names.isName(name) && Files.isDirectory(p, LinkOption.NOFOLLOW_LINKS)) {
                    names.add(name);
                }
            }
        }
        return names;
    }

    /** Makes the instance's folder with its files and its VMs' folders; durable on return. */
    void create(InstanceLayout layout, InstanceState state, List<String> vms) throws AgentException {
        try {
            Path folder = folder(layout.instance());
            Files.createDirectories(folder);
            Durable.write(folder.resolve("state.json"), EventCodec.json().writeValueAsBytes(state));
            Durable.write(folder.resolve("layout.json"), EventCodec.json().writeValueAsBytes(layout));
            Durable.syncFolder(top);
            for (String vm : vms) {
                Path vmFolder = vmFolder(layout.instance(), vm);
                Files.createDirectories(vmFolder);
                Files.setPosixFilePermissions(vmFolder, PosixFilePermissions.fromString("rwx------"));
            }
        } catch (IOException e) {
            throw failed("cannot write the state folder of " + layout.instance(), e);
        }
    }

    void writeState(String instance, InstanceState state) throws AgentException {
        try {
            Durable.write(
                    folder(instance).resolve("state.json"), EventCodec.json().writeValueAsBytes(state));
        } catch (IOException e) {
            throw failed("cannot write the state of " + instance, e);
        }
    }

    Optional<InstanceLayout> layout(String instance) throws IOException {
        Path file = folder(instance).resolve("layout.json");
        return Files.exists(file)
                ? Optional.of(EventCodec.json().readValue(Files.readAllBytes(file), InstanceLayout.class))
                : Optional.empty();
    }

    /** The state; an instance without one was just begun. */
    InstanceState state(String instance) throws IOException {
        Path file = folder(instance).resolve("state.json");
        return Files.exists(file)
                ? EventCodec.json().readValue(Files.readAllBytes(file), InstanceState.class)
                : InstanceState.of(InstanceState.Phase.BUILDING, 0);
    }

    /** Removes the instance's folder, the two files last. Idempotent. */
    void remove(String instance) throws AgentException {
        try {
            Path folder = folder(instance);
            if (Files.exists(folder, LinkOption.NOFOLLOW_LINKS)) {
                Durable.removeTree(folder.resolve("vms"));
                Durable.removeTree(folder.resolve("layout.json"));
                Durable.removeTree(folder);
                Durable.syncFolder(top);
            }
        } catch (IOException e) {
            throw failed("cannot remove the state folder of " + instance, e);
        }
    }

    private static AgentException failed(String what, IOException e) {
        return new AgentException(
                ErrorCode.IO_FAILED, what + ": " + e, "look at the state folder's disk and permissions", e);
    }
}
