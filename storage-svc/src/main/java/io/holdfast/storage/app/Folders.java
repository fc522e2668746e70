package io.holdfast.storage.app;

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.TRUNCATE_EXISTING;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;

/** Durable writing and removing. */
public final class Folders {
    private Folders() {}

    /** Makes a folder's entries durable. */
    static void sync(Path folder) throws IOException {
        try (FileChannel c = FileChannel.open(folder, READ)) {
            c.force(true);
        }
    }

    /** Writes a small file so that after a crash it is there whole or not at all. */
    static void writeDurably(Path file, byte[] data) throws IOException {
        writeDurably(file, ByteBuffer.wrap(data));
    }

    /** Writes what is left of a buffer, whose position stays, to a file, so that after a crash it is there whole or not at all. */
    static void writeDurably(Path file, ByteBuffer data) throws IOException {
        Path tmp = file.resolveSibling(file.getFileName() + ".tmp");
        try (FileChannel c = FileChannel.open(tmp, WRITE, CREATE, TRUNCATE_EXISTING)) {
            InPieces.write(c, 0, data.duplicate());
            c.force(true);
        }
        Files.move(tmp, file, StandardCopyOption.ATOMIC_MOVE);
        sync(file.getParent());
    }

    /** Removes a folder with all in it, following no link. Nothing there: done. */
    public static void delete(Path root) throws IOException {
        if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attrs) throws IOException {
                Files.deleteIfExists(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path dir, IOException e) throws IOException {
                Files.deleteIfExists(dir);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
