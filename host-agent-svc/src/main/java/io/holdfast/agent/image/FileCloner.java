package io.holdfast.agent.image;

import java.io.IOException;
import java.nio.file.Path;

/** Copies files the quickest way that the file system has. Thread-safe. */
public interface FileCloner {
    /**
     * Copies a file to a new one: shared extents (reflink) where the file system can, else data only, holes staying holes.
     *
     * @return whether extents are shared, so that it took no time
     */
    boolean copy(Path from, Path to) throws IOException;

    /** Whether files of these two folders can share extents. Tries it with a small file. */
    default boolean shares(Path from, Path to) {
        return false;
    }

    /** Copies with the JDK alone. */
    static FileCloner plain() {
        return (from, to) -> {
            FileIo.copySparse(from, to);
            return false;
        };
    }
}
