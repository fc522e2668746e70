package io.holdfast.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The machine's pool of 2 MiB pages, made larger for a bench and given back as it was. Needs root. */
final class HugePages implements AutoCloseable {
    private static final Path POOL = Path.of("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");

    private final long before;

    private HugePages(long before) {
        this.before = before;
    }

    /**
     * Sees to it that so many pages are there.
     *
     * @throws IllegalStateException when the machine has not enough memory in one piece
     */
    static HugePages atLeast(long pages) {
        HugePages pool = new HugePages(read());
        if (pool.before < pages) {
            write(pages);
            long now = read();
            if (now < pages) {
                write(pool.before);
                throw new IllegalStateException(
                        "the bench needs " + pages + " huge pages of 2 MiB, this machine gives " + now);
            }
        }
        return pool;
    }

    private static long read() {
        try {
            return Long.parseLong(Files.readString(POOL).strip());
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
