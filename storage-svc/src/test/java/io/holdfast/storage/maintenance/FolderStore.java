package io.holdfast.storage.maintenance;

import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/** A bucket in a folder, whose objects take no part of the heap; its clock is the test's. */
class FolderStore extends TestStore {
    private final Path folder;

    FolderStore(Path folder) {
        this.folder = folder;
    }

    private Path file(String key) {
        return folder.resolve(key);
    }

    @Override
    public void put(String key, byte[] data, int offset, int length) {
        put(key, ByteBuffer.wrap(data, offset, length));
    }

    @Override
    public void put(String key, ByteBuffer data) {
        try {
            Files.createDirectories(file(key).getParent());
            try (FileChannel c = FileChannel.open(
                    file(key),
                    StandardOpenOption.WRITE,
                    StandardOpenOption.CREATE,
                    StandardOpenOption.TRUNCATE_EXISTING)) {
                ByteBuffer b = data.duplicate();
                while (b.hasRemaining()) {
                    c.write(b);
                }
            }
            Files.setLastModifiedTime(file(key), FileTime.from(seconds()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** An object of that size which nobody reads. */
    void putHole(String key, long bytes) throws IOException {
        Files.createDirectories(file(key).getParent());
        try (RandomAccessFile f = new RandomAccessFile(file(key).toFile(), "rw")) {
            f.setLength(bytes);
        }
        Files.setLastModifiedTime(file(key), FileTime.from(seconds()));
    }

    @Override
    public boolean putIfAbsent(String key, byte[] data) {
        if (Files.exists(file(key))) {
            return false;
        }
        put(key, data, 0, data.length);
        return true;
    }

    @Override
    public byte[] get(String key, long limit) throws StorageException {
        return get(key, (int) Math.min(limit, Integer.MAX_VALUE), Room.HEAP).array();
    }

    @Override
    public ByteBuffer get(String key, int limit, Room room) throws StorageException {
        try (FileChannel c = open(key)) {
            if (c.size() > limit) {
                throw StorageException.corrupt(key, "is larger than the limit of " + limit + " bytes");
            }
            ByteBuffer data = room.take((int) c.size());
            while (data.hasRemaining() && c.read(data) >= 0) {
                // until all of it is here
            }
            return data.flip();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private FileChannel open(String key) throws StorageException, IOException {
        if (!Files.exists(file(key))) {
            throw StorageException.missing(key);
        }
        return FileChannel.open(file(key), StandardOpenOption.READ);
    }

    @Override
    public void read(String key, Part part) throws StorageException {
        if (part.to() <= part.from()) {
            give(part, new ByteArrayInputStream(new byte[0]));
            return;
        }
        try (FileChannel c = open(key)) {
            give(part, Channels.newInputStream(c.position(part.from())));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void give(Part part, InputStream in) throws StorageException {
        try {
            part.take(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public OptionalLong size(String key) {
        try {
            return Files.exists(file(key)) ? OptionalLong.of(Files.size(file(key))) : OptionalLong.empty();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public List<Stored> list(String prefix) {
        List<Stored> list = new ArrayList<>();
        Path from = file(prefix.substring(0, prefix.lastIndexOf('/') + 1));
        if (!Files.exists(from)) {
            return list;
        }
        try (var all = Files.walk(from)) {
            for (Path p : (Iterable<Path>) all.filter(Files::isRegularFile)::iterator) {
                String key = folder.relativize(p).toString();
                if (key.startsWith(prefix)) {
                    list.add(new Stored(
                            key, Files.size(p), Files.getLastModifiedTime(p).toInstant()));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return list;
    }

    @Override
    public void delete(String key) {
        try {
            Files.deleteIfExists(file(key));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
