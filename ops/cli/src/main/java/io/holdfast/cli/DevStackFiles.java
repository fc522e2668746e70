package io.holdfast.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** What the dev stack of this machine left in its run file: where its coordinator is and where its hosts keep their state. */
final class DevStackFiles {
    private DevStackFiles() {}

    /** The dev stack's folder. */
    static Path home() {
        String home = System.getenv("HOLDFAST_HOME");
        return Path.of(home == null || home.isBlank() ? "/var/lib/holdfast-dev" : home);
    }

    /** The coordinator: HOLDFAST_SERVER, else the dev stack's, else {@code http://127.0.0.1:8080}. */
    static URI server() {
        String env = System.getenv("HOLDFAST_SERVER");
        if (env != null && !env.isBlank()) {
            return URI.create(env);
        }
        return runFile()
                .map(n -> n.path("coordinator").asText())
                .filter(u -> !u.isEmpty())
                .map(URI::create)
                .orElse(URI.create("http://127.0.0.1:8080"));
    }

    /** Folder of the guest that the launcher built, if a dev stack is up. */
    static Optional<String> guest() {
        return runFile().map(n -> n.path("guest").asText()).filter(g -> !g.isEmpty());
    }

    /** The console log of a VM on a host of the dev stack, if it is there. */
    static Optional<Path> consoleLog(String host, String instance, String vm) {
        return stateFolder(host)
                .map(s -> s.resolve("instances")
                        .resolve(instance)
                        .resolve("vms")
                        .resolve(vm)
                        .resolve("console.log"))
                .filter(Files::isReadable);
    }

    /** The state folder of a host's agent. */
    private static Optional<Path> stateFolder(String host) {
        return runFile().flatMap(n -> {
            for (JsonNode h : n.path("hosts")) {
                if (h.path("name").asText().equals(host)) {
                    return Optional.of(Path.of(h.path("stateDir").asText()));
                }
            }
            return Optional.empty();
        });
    }

    /** What the dev stack tells of itself; its presence says that the stack is up. */
    private static Optional<JsonNode> runFile() {
        Path file = home().resolve("stack.json");
        if (!Files.isReadable(file)) {
            return Optional.empty();
        }
        try {
            return Optional.of(Api.json().readTree(file.toFile()));
        } catch (IOException e) {
            throw new ApiException(
                    ApiException.Kind.INTERNAL, file + " cannot be read: " + e.getMessage(), List.of(), e);
        }
    }
}
