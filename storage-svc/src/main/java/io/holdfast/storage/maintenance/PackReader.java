package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkCodec;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

/** Reads packs whole, several at a time, and checks each chunk of them. */
final class PackReader {
    private final ObjectStore store;
    private final Keys keys;
    private final Vault vault;
    private final ChunkCodec codec;

    PackReader(ObjectStore store, Keys keys, Vault vault, ChunkCodec codec) {
        this.vault = vault;
        this.store = store;
        this.keys = keys;
        this.codec = codec;
    }

    /**
     * What an index says of a pack.
     *
     * @param table digest of the pack's table
     */
    record Pack(ChunkId id, long bytes, ChunkId table) {
        static Pack of(Table t) {
            return new Pack(t.id(), t.objectBytes(), t.digest());
        }
    }

    /** What is done with a pack that is broken. Thread-safe; throws on what is no damage, such as a bucket that does not answer. */
    interface OnBroken {
        void broken(Pack pack, StorageException e) throws StorageException;
    }

    /** Reads all; ends early on an error that is no damage. */
    void readAll(List<Pack> packs, int threads, Progress progress, OnBroken onBroken)
            throws StorageException, InterruptedException {
        AtomicInteger next = new AtomicInteger();
        ExecutorService pool = Executors.newFixedThreadPool(threads, r -> {
            Thread t = new Thread(r, "verify");
            t.setDaemon(true);
            return t;
        });
        try {
            var running = new ArrayList<Future<?>>();
            for (int i = 0; i < threads; i++) {
                running.add(pool.submit(() -> {
                    Opened a = new Opened();
                    Opened b = new Opened();
                    for (int k = next.getAndIncrement(); k < packs.size(); k = next.getAndIncrement()) {
                        Pack t = packs.get(k);
                        try {
                            check(t, a, b);
                        } catch (StorageException e) {
                            onBroken.broken(t, e);
                        }
                        progress.add(t.bytes());
                    }
                    return null;
                }));
            }
            for (Future<?> f : running) {
                try {
                    f.get();
                } catch (ExecutionException e) {
                    next.set(packs.size());
                    if (e.getCause() instanceof StorageException s) {
                        throw s;
                    }
                    throw new StorageException(
                            ErrorCode.INTERNAL,
                            "verify failed: " + e.getCause(),
                            "report this with the service's log",
                            e.getCause());
                }
            }
        } finally {
            pool.shutdownNow();
        }
    }

    /** A chunk that is taken out of its pack; the arrays grow as chunks need. */
    private static final class Opened {
        private Entry entry;
        private byte[] plain = new byte[0];
        private byte[] scratch = new byte[0];

        void take(Entry e) {
            entry = e;
            plain = plain.length < e.plainBytes() ? new byte[e.plainBytes()] : plain;
            scratch = scratch.length < e.storedBytes() ? new byte[e.storedBytes()] : scratch;
        }
    }

    private void check(Pack expected, Opened a, Opened b) throws StorageException {
        String key = keys.pack(expected.id());
        byte[] data = store.get(key, expected.bytes());
        Table t = PackFormat.read(key, expected.id(), data, vault);
        if (!t.digest().equals(expected.table())) {
            throw StorageException.corrupt(key, "an index says that it holds other chunks");
        }
        int at = PackFormat.HEADER;
        Opened first = null;
        for (Entry e : t.entries()) {
            Opened o = first == null ? a : b;
            o.take(e);
            PackFormat.open(key, vault, codec, e, data, at, o.scratch, o.plain);
            at += e.storedBytes();
            if (first == null) {
                first = o;
            } else {
                PackFormat.check(key, vault, first.entry, first.plain, e, o.plain);
                first = null;
            }
        }
        if (first != null) {
            PackFormat.check(key, vault, first.entry, first.plain);
        }
    }
}
