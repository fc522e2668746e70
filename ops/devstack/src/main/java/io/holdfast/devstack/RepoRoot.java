package io.holdfast.devstack;

import java.nio.file.Files;
import java.nio.file.Path;

/** Finds the checkout that this code runs in, and what its build left there. */
public final class RepoRoot {
    private RepoRoot() {}

    /**
     * The repository's root: the environment's {@code HOLDFAST_ROOT}, else the nearest folder upwards of the working
     * folder that holds the dev stack's sources.
     *
     * @throws IllegalStateException when there is none
     */
    public static Path find() {
        String given = System.getenv("HOLDFAST_ROOT");
        if (given != null && !given.isBlank()) {
            return Path.of(given).toAbsolutePath().normalize();
        }
        Path start = Path.of("").toAbsolutePath();
        for (Path folder = start; folder != null; folder = folder.getParent()) {
            if (Files.isRegularFile(folder.resolve("ops/devstack/pom.xml"))) {
                return folder;
            }
        }
        throw new IllegalStateException("no Holdfast checkout at or above " + start + "; set HOLDFAST_ROOT");
    }

    /**
     * A file or folder that the build makes.
     *
     * @param path relative to the root, as {@code coordinator-svc/target/quarkus-app}
     * @throws IllegalStateException when it is not there, saying how to build it
     */
    public static Path built(String path) {
        Path found = find().resolve(path);
        if (!Files.exists(found)) {
            throw new IllegalStateException(found + " is missing: run ./holdfast build (or mvn package) first");
        }
        return found;
    }
}
