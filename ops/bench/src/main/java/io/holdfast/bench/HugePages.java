package io.holdfast.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The machine's pool of 2 MiB pages, made larger for a bench and given back as it was. Needs root. */
final class HugePages implements AutoCloseable {
    private static final Path POOL = Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    private static final Path FREE = Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");

    private final long before;

    private HugePages(long before) {
        this.before = before;
    }

    /**
     * Sees to it that so many pages are free.
     *
     * @throws IllegalStateException when the machine has not enough memory in one piece
     */
    static HugePages atLeast(long pages) {
        HugePages pool = new HugePages(read(POOL));
        long lacking = pages - read(FREE);
        if (lacking > 0) {
            write(pool.before + lacking);
            if (read(FREE) < pages) {
                long now = read(FREE);
                write(pool.before);
                throw new IllegalStateException(
                        "the bench needs " + pages + " free huge pages of 2 MiB, this machine gives " + now);
            }
        }
        return pool;
    }

    private static long read(Path file) {
        try {
            return Long.parseLong(Files.readString(file).strip());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void write(long pages) {
        try {
            Files.writeString(POOL, Long.toString(pages));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        write(before);
    }
}
