package io.holdfast.storage.app;

import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * An index of that many made-up chunks, in mapped files of a folder: {@code java -Xmx... LargeIndex FOLDER CHUNKS}. Says what it took, and
 * fails if a chunk is not found. A program of its own, so that the heap's limit is the test.
 */
public final class LargeIndex {
    private static final int PER_PACK = 256;

    private LargeIndex() {}

    private static ChunkId id(Random r) {
        return new ChunkId(r.nextLong(), r.nextLong(), r.nextLong(), r.nextLong());
    }

    private static Table table(long pack) {
        Random r = new Random(pack);
        List<Entry> entries = new ArrayList<>(PER_PACK);
        ChunkId id = id(r);
        for (int i = 0; i < PER_PACK; i++) {
            entries.add(new Entry(id(r), 65536, 40_000 + (int) pack % 100, PackFormat.ZSTD));
        }
        return new Table(id, entries);
    }

    public static void main(String[] args) throws StorageException {
        long packs = Long.parseLong(args[1]) / PER_PACK;
        ChunkIndex index = new ChunkIndex(new MappedRoom(Path.of(args[0])));
        long start = System.nanoTime();
        for (long p = 0; p < packs; p++) {
            index.add(table(p));
        }
        double added = (System.nanoTime() - start) / 1e9;
        start = System.nanoTime();
        long found = 0;
        for (long p = 0; p < packs; p += 100) {
            Table t = table(p);
            for (Entry e : t.entries()) {
                ChunkIndex.Place at = index.find(e.id());
                if (at == null || !at.pack().equals(t.id()) || at.storedBytes() != e.storedBytes()) {
                    throw new IllegalStateException("chunk " + e.id() + " is lost");
                }
                found++;
            }
        }
        double looked = (System.nanoTime() - start) / 1e9;
        System.gc();
        long heap = Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
        System.out.printf(
                Locale.ROOT,
                "CHUNKS %d HEAP %d MiB of %d; %.2f us a chunk added, %.2f us looked up%n",
                index.size(),
                heap >> 20,
                Runtime.getRuntime().maxMemory() >> 20,
                added * 1e6 / index.size(),
                looked * 1e6 / found);
    }
}
