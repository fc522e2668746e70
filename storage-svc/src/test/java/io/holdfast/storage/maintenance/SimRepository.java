package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.ChunkCodec;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.VmManifest;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** A repository in memory, and what tests put into it: chunks with made-up content that has a number, stored as they are. */
final class SimRepository {
    static final Keys KEYS = new Keys("p");
    static final int CHUNK = 4096;
    static final Duration GRACE = Duration.ofHours(1);

    /** Compresses nothing. */
    static final ChunkCodec RAW = new ChunkCodec() {
        @Override
        public int compress(byte[] source, int offset, int length, byte[] target, int at, int room) {
            return -1;
        }

        @Override
        public boolean decompress(ByteBuffer source, byte[] target, int at, int length) {
            return false;
        }
    };

    final SimStore store = new SimStore(() -> {});
    final Repository repository = new Repository(store, KEYS, CHUNK, null).graceOfNew(GRACE);
    final Survey survey = new Survey(store, KEYS, repository);

    SimRepository() throws StorageException {
        repository.open();
    }

    static byte[] content(int n) {
        byte[] data = new byte[CHUNK];
        new Random(n).nextBytes(data);
        return data;
    }

    static ChunkId id(int n) {
        return ChunkId.of(content(n));
    }

    /** Stores a pack of these chunks, which no index names yet. */
    Table pack(int... contents) {
        var b = new PackFormat.Builder(1 << 20, CHUNK, Vault.NONE);
        for (int n : contents) {
            byte[] data = content(n);
            b.add(ChunkId.of(data), data, 0, CHUNK, RAW);
        }
        Table t = b.seal();
        store.put(KEYS.pack(t.id()), b.bytes(), 0, b.length());
        return t;
    }

    /** Stores an index. */
    String index(Table... packs) throws StorageException {
        return KEYS.index(survey.storeIndex(List.of(packs), false));
    }

    /** A VM whose memory is these chunks. */
    static VmManifest vm(String checkpoint, List<ChunkId> memory) {
        var ids = ByteBuffer.allocate(memory.size() * ChunkId.BYTES);
        memory.forEach(id -> id.write(ids));
        return new VmManifest(
                checkpoint,
                "a",
                CHUNK,
                List.of(new VmManifest.File(
                        "ram.img", (long) memory.size() * CHUNK, null, List.of(new VmManifest.Run(0, ids.array())))));
    }

    /** A checkpoint of that one VM. */
    static CheckpointManifest manifest(String id, Instant takenAt, VmArchive vm) {
        return new CheckpointManifest(
                1,
                id,
                "net",
                null,
                takenAt,
                new InstanceLayout("net", null, List.of(), Map.of()),
                List.of(vm),
                List.of(),
                new CutFigures(List.of()));
    }

    /** Stores a checkpoint that needs these chunks. */
    void checkpoint(String id, int... contents) throws StorageException {
        checkpointOf(id, Arrays.stream(contents).mapToObj(SimRepository::id).toList());
    }

    void checkpointOf(String id, List<ChunkId> memory) throws StorageException {
        String key = KEYS.vm(id, "a");
        String sha256 = repository.put(key, vm(id, memory)).sha256().hex();
        repository.commit(manifest(id, store.now, new VmArchive("a", key, sha256)));
    }

    PruneResult prune(Keeper.Repack policy, boolean dryRun) throws StorageException {
        return new Pruner(store, KEYS, survey, new Leases(store, KEYS, repository), GRACE, policy)
                .prune(dryRun, new Progress());
    }
}
