package io.holdfast.storage.app;

import io.holdfast.storage.domain.ChunkIndex;
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
 * is free when the service has ended or the room is not used any more. Thread-safe.
 */
public final class MappedRoom implements ChunkIndex.Room {
    private final Path folder;

    public MappedRoom(Path folder) {
        this.folder = folder;
    }

    @Override
    public ByteBuffer allocate(int bytes) throws StorageException {
        try {
            Path file = Files.createTempFile(folder, "index", ".map");
            try (FileChannel c = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                return c.map(MapMode.READ_WRITE, 0, bytes);
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw Indexes.io("making room for the index in", folder, e);
        }
    }
}
