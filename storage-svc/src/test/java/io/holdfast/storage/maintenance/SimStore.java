package io.holdfast.storage.maintenance;

import io.holdfast.storage.domain.StorageException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * A bucket in memory, as consistent as S3 is: each request is one step, seen by all that come after. Before each step it asks a
 * gate, through which a test lets one actor at a time. Times are whole seconds, as S3 gives them.
 */
final class SimStore extends TestStore {
    private record Entry(byte[] data, Instant modified) {}

    private final TreeMap<String, Entry> objects = new TreeMap<>();
    private final Runnable gate;
    /** Keys that are not stored although the store says so: what a broken variant leaves out. */
    Predicate<String> swallow = k -> false;
    /** Hears of each put before it is done, and of each object that is read whole. */
    Consumer<String> onPut = k -> {};

    Consumer<String> onGet = k -> {};
    /** Hears of each deletion, after it. */
    Consumer<String> onDelete = k -> {};

    SimStore(Runnable gate) {
        this.gate = gate;
    }

    @Override
    void request() {
        gate.run();
    }

    @Override
    public void put(String key, byte[] data, int offset, int length) {
        onPut.accept(key);
        request();
        byte[] copy = new byte[length];
        System.arraycopy(data, offset, copy, 0, length);
        store(key, copy);
    }

    private void store(String key, byte[] data) {
        if (!swallow.test(key)) {
            objects.put(key, new Entry(data, seconds()));
        }
    }

    @Override
    public boolean putIfAbsent(String key, byte[] data) {
        request(); // as on a server without conditional put: looked first
        if (objects.containsKey(key)) {
            return false;
        }
        request();
        store(key, data.clone());
        return true;
    }

    @Override
    public byte[] get(String key, long limit) throws StorageException {
        request();
        onGet.accept(key);
        return found(key).data().clone();
    }

    private Entry found(String key) throws StorageException {
        Entry e = objects.get(key);
        if (e == null) {
            throw StorageException.missing(key);
        }
        return e;
    }

    @Override
    public void read(String key, Part part) throws StorageException {
        request();
        byte[] data = found(key).data();
        try {
            part.take(new ByteArrayInputStream(data, (int) part.from(), (int) (part.to() - part.from())));
        } catch (IOException e) {
            throw StorageException.corrupt(key, e.toString());
        }
    }

    @Override
    public OptionalLong size(String key) {
        request();
        Entry e = objects.get(key);
        return e == null ? OptionalLong.empty() : OptionalLong.of(e.data().length);
    }

    @Override
    public List<Stored> list(String prefix) {
        request();
        var list = new ArrayList<Stored>();
        objects.tailMap(prefix).forEach((k, e) -> {
            if (k.startsWith(prefix)) {
                list.add(new Stored(k, e.data().length, e.modified()));
            }
        });
        return list;
    }

    @Override
    public void delete(String key) {
        request();
        objects.remove(key);
        onDelete.accept(key);
    }

    /** The objects as they are, past the gate. */
    boolean has(String key) {
        return objects.containsKey(key);
    }

    byte[] peek(String key) {
        Entry e = objects.get(key);
        return e == null ? null : e.data();
    }

    List<String> keys(String prefix) {
        return objects.tailMap(prefix).keySet().stream()
                .filter(k -> k.startsWith(prefix))
                .toList();
    }
}
