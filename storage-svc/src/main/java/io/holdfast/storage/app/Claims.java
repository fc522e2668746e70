package io.holdfast.storage.app;

import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * What a restore needs of the image folder: a file {@code claim-OPERATION} in a checkpoint's folder keeps the agent from
 * removing its images, which are archived. The agent removes it when the restore has ended, well or not.
 */
final class Claims {
    /** Before the id of the operation. */
    static final String PREFIX = "claim-";
    /** Locked (shared) by who claims, and by the agent before it looks for claims and removes a checkpoint. */
    static final String LOCK = ".lock";

    private Claims() {}

    /** Claims a checkpoint's images, those that are here and those to come. When it returns no prune removes them. */
    static void claim(Path images, String checkpoint, String operation) throws StorageException {
        Path folder = images.resolve(Names.require("checkpoint", checkpoint));
        Path claim = folder.resolve(PREFIX + Names.require("operation", operation));
        try (FileChannel channel = open(images.resolve(LOCK));
                var lock = channel.lock(0, Long.MAX_VALUE, true)) {
            Files.createDirectories(folder);
            Folders.writeDurably(claim, new byte[0]);
        } catch (IOException e) {
            throw Indexes.io("claiming", folder, e);
        }
    }

    private static FileChannel open(Path file) throws IOException {
        try {
            return FileChannel.open(file, StandardOpenOption.READ); // it may be the agent's, who is root
        } catch (NoSuchFileException e) {
            return FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE);
        }
    }
}
