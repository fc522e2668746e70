package io.holdfast.storage.app;

import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Room in a folder: files that are mapped and have no name, so that the kernel takes the memory back when it needs it, and the space
 * is free when the service has ended or the garbage collector finds that the room is not used any more. Thread-safe.
 */
public final class MappedRoom implements Room {
    private final Path folder;

    public MappedRoom(Path folder) {
        this.folder = folder;
    }

    @Override
    public ByteBuffer allocate(int bytes) throws StorageException {
        try (FileChannel c = nameless(folder)) {
            return c.map(MapMode.READ_WRITE, 0, bytes);
        } catch (IOException e) {
            throw Indexes.io("making room in", folder, e);
        }
    }

    /** A new file that has no name. */
    static FileChannel nameless(Path folder) throws IOException {
        Path file = Files.createTempFile(folder, "index", ".map");
        try {
            return FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        } finally {
            Files.delete(file);
        }
    }
}
