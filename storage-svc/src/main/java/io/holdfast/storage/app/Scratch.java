package io.holdfast.storage.app;

import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Path;
import java.util.IdentityHashMap;
import org.jboss.logging.Logger;

/**
 * Room as {@link MappedRoom} gives it, whose space on the disk and in the page cache is free at once when it is closed, without waiting for the
 * garbage collector. Nobody may use what it gave after that. Thread-safe.
 */
public final class Scratch implements Room, AutoCloseable {
    private static final Logger LOG = Logger.getLogger(Scratch.class);

    private final Path folder;
    private final IdentityHashMap<ByteBuffer, FileChannel> files = new IdentityHashMap<>();

    public Scratch(Path folder) {
        this.folder = folder;
    }

    @Override
    public synchronized ByteBuffer allocate(int size) throws StorageException {
        try {
            FileChannel c = MappedRoom.nameless(folder);
            try {
                ByteBuffer b = c.map(MapMode.READ_WRITE, 0, size);
                files.put(b, c);
                return b;
            } catch (IOException | RuntimeException | Error e) {
                c.close();
                throw e;
            }
        } catch (IOException e) {
            throw Indexes.io("making room in", folder, e);
        }
    }

    @Override
    public synchronized void free(ByteBuffer given) {
        FileChannel c = files.remove(given);
        if (c != null) {
            empty(c);
        }
    }

    @Override
    public synchronized void close() {
        files.values().forEach(this::empty);
        files.clear();
    }

    private void empty(FileChannel file) {
        try (file) {
            file.truncate(0);
        } catch (IOException e) {
            LOG.warnf(e, "event=room-not-freed folder=%s", folder);
        }
    }
}
