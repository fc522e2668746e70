package io.holdfast.agent.image;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;

/** File operations that the JDK lacks in one call. */
public final class FileIo {
    private static final int CHUNK = 1 << 20;

    private FileIo() {}

    static void writeFully(FileChannel file, ByteBuffer from, long at) throws IOException {
        long place = at;
        while (from.hasRemaining()) {
            place += file.write(from, place);
        }
    }

    /** Writes the first buffers one after the other; they have that many bytes. Moves the file's position. */
    static void writeFully(FileChannel file, ByteBuffer[] from, int buffers, long at, long bytes) throws IOException {
        file.position(at);
        for (long left = bytes; left > 0; ) {
            left -= file.write(from, 0, buffers);
        }
    }

    static void readFully(FileChannel file, ByteBuffer to, long at) throws IOException {
        long place = at;
        while (to.hasRemaining()) {
            int n = file.read(to, place);
            if (n < 0) {
                throw new StreamException("file ends at " + place + ", " + to.remaining() + " bytes too early");
            }
            place += n;
        }
    }

    /** Makes a file larger without writing data: the rest is a hole. Never makes it smaller. */
    static void setSize(FileChannel file, long bytes) throws IOException {
        if (file.size() < bytes) {
            // The last byte is written; its block is data, all before it a hole.
            FileIo.writeFully(file, ByteBuffer.allocate(1), bytes - 1);
        }
    }

    /** Forces a folder's entries to the disk. */
    public static void syncFolder(Path folder) throws IOException {
        try (FileChannel c = FileChannel.open(folder, StandardOpenOption.READ)) {
            c.force(true);
        }
    }

    /** Writes a file under a temporary name, forces it to the disk and renames it: it is there whole or not at all. */
    public static void writeAtomically(Path file, byte[] content) throws IOException {
        Path temporary = file.resolveSibling("." + file.getFileName() + ".new");
        try (FileChannel c = FileChannel.open(
                temporary,
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE,
                StandardOpenOption.TRUNCATE_EXISTING,
                LinkOption.NOFOLLOW_LINKS)) {
            writeFully(c, ByteBuffer.wrap(content), 0);
            c.force(true);
        }
        Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        syncFolder(file.toAbsolutePath().getParent());
    }

    /** Copies a file so that zero pages become holes, and forces it to the disk. */
    static void copySparse(Path from, Path to) throws IOException {
        try (FileChannel in = FileChannel.open(from, StandardOpenOption.READ);
                FileChannel out = FileChannel.open(to, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            var buffer = ByteBuffer.allocateDirect(CHUNK);
            var zero = ByteBuffer.allocateDirect(RamBlock.PAGE);
            long size = in.size();
            for (long at = 0; at < size; at += buffer.limit()) {
                buffer.clear().limit((int) Math.min(CHUNK, size - at));
                readFully(in, buffer, at);
                int end = buffer.position();
                int p = 0;
                while (p < end) {
                    int data = p;
                    while (p < end && !isZero(buffer, p, Math.min(RamBlock.PAGE, end - p), zero)) {
                        p += Math.min(RamBlock.PAGE, end - p);
                    }
                    if (p > data) {
                        writeFully(out, buffer.duplicate().position(data).limit(p), at + data);
                    }
                    while (p < end && isZero(buffer, p, Math.min(RamBlock.PAGE, end - p), zero)) {
                        p += Math.min(RamBlock.PAGE, end - p);
                    }
                }
            }
            setSize(out, size);
            out.force(true);
        }
    }

    static boolean isZero(ByteBuffer b, int at, int bytes, ByteBuffer zeroPage) {
        return b.slice(at, bytes).equals(zeroPage.slice(0, bytes));
    }

    /** Removes a folder with all it has. Done too when there is none. */
    public static void deleteTree(Path folder) throws IOException {
        try {
            Files.walkFileTree(folder, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path f, BasicFileAttributes a) throws IOException {
                    Files.deleteIfExists(f);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult visitFileFailed(Path f, IOException e) throws IOException {
                    if (e instanceof NoSuchFileException) {
                        return FileVisitResult.CONTINUE;
                    }
                    throw e;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path d, IOException e) throws IOException {
                    if (e != null) {
                        throw e;
                    }
                    Files.deleteIfExists(d);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (NoSuchFileException e) {
            // nothing there: done
        }
    }
}
