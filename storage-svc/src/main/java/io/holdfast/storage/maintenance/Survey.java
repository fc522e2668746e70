package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.VmManifest;
import io.holdfast.storage.domain.VmManifest.Run;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.jboss.logging.Logger;

/** Looks at the bucket itself, past every cache. */
final class Survey {
    private static final Logger LOG = Logger.getLogger(Survey.class);
    /** Indexes are written from that size on. */
    static final long INDEX_BYTES = 8L << 20;

    private static final String MANIFEST = ".json";
    private static final String VM = ".hfvm";

    private final ObjectStore store;
    private final Keys keys;
    private final Repository repository;
    private final Room room;

    Survey(ObjectStore store, Keys keys, Repository repository) {
        this(store, keys, repository, Room.HEAP);
    }

    /**
     * Makes it.
     *
     * @param room takes sets of chunks
     */
    Survey(ObjectStore store, Keys keys, Repository repository, Room room) {
        this.store = store;
        this.keys = keys;
        this.repository = repository;
        this.room = room;
    }

    /** An empty set of chunks, which takes no part of the heap when it is large. */
    LongSet chunkSet() {
        return new LongSet(room);
    }

    /** An empty index of chunks, by their whole ids, which takes no part of the heap when it is large. */
    ChunkIndex chunkIndex() {
        return new ChunkIndex(room);
    }

    /** A VM manifest in the bucket. */
    record VmObject(String checkpoint, String vm, Stored stored) {}

    /** Checkpoints of the bucket: those whose manifest is there. */
    SortedSet<String> checkpoints() throws StorageException {
        return named(keys.checkpoints(), MANIFEST);
    }

    /** Checkpoints that are held. */
    SortedSet<String> holds() throws StorageException {
        return named(keys.holds(), MANIFEST);
    }

    private SortedSet<String> named(String folder, String ending) throws StorageException {
        var names = new TreeSet<String>();
        for (Stored s : store.list(folder)) {
            String name = s.key().substring(folder.length());
            String checkpoint = name.endsWith(ending) ? name.substring(0, name.length() - ending.length()) : "";
            if (Names.valid(checkpoint)) {
                names.add(checkpoint);
            } else {
                foreign(s);
            }
        }
        return names;
    }

    private static void foreign(Stored s) {
        LOG.warnf("event=foreign-object key=%s", s.key());
    }

    /** Every pack object. */
    SortedMap<ChunkId, Stored> packs() throws StorageException {
        return digests(keys.packs());
    }

    /** Every index object. */
    SortedMap<ChunkId, Stored> indexes() throws StorageException {
        return digests(keys.indexes());
    }

    private SortedMap<ChunkId, Stored> digests(String folder) throws StorageException {
        var map = new TreeMap<ChunkId, Stored>();
        for (Stored s : store.list(folder)) {
            ChunkId id = ChunkId.parse(s.key().substring(folder.length()));
            if (id == null) {
                foreign(s);
            } else {
                map.put(id, s);
            }
        }
        return map;
    }

    /** Every VM manifest, also of checkpoints that do not exist. */
    List<VmObject> vms() throws StorageException {
        var list = new ArrayList<VmObject>();
        for (Stored s : store.list(keys.vms())) {
            String[] words = s.key().substring(keys.vms().length()).split("/", -1);
            String vm = words.length == 2 && words[1].endsWith(VM)
                    ? words[1].substring(0, words[1].length() - VM.length())
                    : "";
            if (Names.valid(words[0]) && Names.valid(vm)) {
                list.add(new VmObject(words[0], vm, s));
            } else {
                foreign(s);
            }
        }
        return list;
    }

    /** Reads an index, all of which is checked before the first of its packs is told; they are told one at a time. */
    void index(ChunkId id, IndexFormat.EachTable each) throws StorageException {
        repository.index(id, each);
    }

    /** Stores indexes of the packs that stay of an index, each of a size that fits into memory, or in a dry run none; returns their ids. */
    List<ChunkId> storeStaying(ChunkId index, Predicate<ChunkId> stays, boolean dryRun) throws StorageException {
        var tables = new ArrayList<Table>();
        var written = new ArrayList<ChunkId>();
        var bytes = new long[1];
        index(index, t -> {
            if (stays.test(t.id())) {
                tables.add(t);
                bytes[0] += ChunkId.BYTES
                        + 4
                        + (long) PackFormat.ENTRY * t.entries().size();
                if (bytes[0] >= INDEX_BYTES) {
                    written.add(storeIndex(tables, dryRun));
                    tables.clear();
                    bytes[0] = 0;
                }
            }
        });
        if (!tables.isEmpty()) {
            written.add(storeIndex(tables, dryRun));
        }
        return written;
    }

    /** Stores an index of those packs, or in a dry run nothing, and returns its id. */
    ChunkId storeIndex(List<Table> packs, boolean dryRun) throws StorageException {
        byte[] data = repository.sealed(keys.indexes(), IndexFormat.encode(packs));
        ChunkId id = ChunkId.of(data);
        if (!dryRun) {
            store.put(keys.index(id), data, 0, data.length);
        }
        return id;
    }

    /** Looks whether the config is there, and the one of this repository; else REPOSITORY_CORRUPT. */
    void confirm() throws StorageException {
        repository.confirm();
    }

    /** Writes the config again where it is gone, or in a dry run not; returns whether it was. */
    boolean bringBackConfig(boolean dryRun) throws StorageException {
        return repository.bringBackConfig(dryRun);
    }

    Vault vault() throws StorageException {
        return repository.vault();
    }

    int chunkBytes() throws StorageException {
        return repository.open().chunkBytes();
    }

    CheckpointManifest checkpoint(String checkpoint) throws StorageException {
        return repository.checkpoint(checkpoint);
    }

    VmManifest vm(CheckpointManifest m, VmArchive a) throws StorageException {
        return vm(m.checkpoint(), a);
    }

    VmManifest vm(String checkpoint, VmArchive a) throws StorageException {
        return repository.vm(checkpoint, a);
    }

    /** A VM manifest that no checkpoint's manifest vouches for. */
    VmManifest orphan(VmObject o) throws StorageException {
        return repository.orphan(o.stored().key());
    }

    /** What is done with each chunk of a VM: its id and its length. */
    interface EachChunk {
        void chunk(ChunkId id, int bytes) throws StorageException;
    }

    static void chunks(VmManifest m, EachChunk each) throws StorageException {
        for (VmManifest.File f : m.files()) {
            for (Run r : f.runs()) {
                for (int i = 0; i < r.count(); i++) {
                    long at = (r.first() + i) * m.chunkBytes();
                    each.chunk(r.id(i), (int) Math.min(m.chunkBytes(), f.bytes() - at));
                }
            }
        }
    }

    static void addTo(LongSet set, VmManifest m) throws StorageException {
        chunks(m, (id, bytes) -> set.add(id));
    }
}
