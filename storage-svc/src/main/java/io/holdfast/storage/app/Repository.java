package io.holdfast.storage.app;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.Manifests;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.VmManifest;
import java.time.Instant;
import java.util.OptionalLong;
import java.util.UUID;

/** A repository's config and manifests. Thread-safe. */
public final class Repository {
    private final ObjectStore store;
    private final Keys keys;
    private final int chunkBytes;
    private volatile RepositoryConfig config;

    /**
     * Makes the view; nothing is read yet.
     *
     * @param chunkBytes for a repository that does not exist yet
     */
    public Repository(ObjectStore store, Keys keys, int chunkBytes) {
        this.store = store;
        this.keys = keys;
        this.chunkBytes = chunkBytes;
    }

    /** The config, written when there is none. Two services that come at once agree on one. */
    public RepositoryConfig open() throws StorageException {
        RepositoryConfig c = config;
        if (c == null) {
            if (store.size(keys.config()).isEmpty()) {
                store.putIfAbsent(
                        keys.config(),
                        new RepositoryConfig(
                                        RepositoryConfig.FORMAT,
                                        UUID.randomUUID().toString(),
                                        Instant.now(),
                                        chunkBytes,
                                        "sha256",
                                        null)
                                .encode());
            }
            c = RepositoryConfig.decode(keys.config(), store.get(keys.config(), Limits.MAX_CONFIG));
            config = c;
        }
        return c;
    }

    /** What commit wrote. */
    public record Committed(String key, String sha256) {}

    /** Whether the checkpoint's manifest is there. */
    public boolean exists(String checkpoint) throws StorageException {
        return store.size(keys.checkpoint(checkpoint)).isPresent();
    }

    /**
     * Writes a checkpoint's manifest: from then on the checkpoint exists.
     *
     * <p>Prerequisites: every VM manifest is there. On success: the manifest is there; the same again changes nothing. On
     * failure: nothing changed, or the manifest is there whole.
     */
    public Committed commit(CheckpointManifest manifest) throws StorageException {
        String key = keys.checkpoint(manifest.checkpoint());
        Manifests.check(keys, key, manifest.checkpoint(), manifest);
        open();
        for (VmArchive a : manifest.vms()) {
            OptionalLong size = store.size(a.manifestKey());
            if (size.isEmpty()) {
                throw StorageException.corrupt(a.manifestKey(), "is missing, so the checkpoint cannot be committed");
            }
        }
        byte[] data = Manifests.encode(manifest);
        if (!store.putIfAbsent(key, data)) {
            byte[] there = store.get(key, Limits.MAX_CHECKPOINT_MANIFEST);
            if (!Manifests.decode(keys, manifest.checkpoint(), there).equals(manifest)) {
                throw new StorageException(
                        ErrorCode.REPOSITORY_CORRUPT,
                        "object " + key + ": is there already with other content",
                        "two checkpoints have one id: look who else writes to this bucket");
            }
            data = there;
        }
        return new Committed(key, ChunkId.of(data).hex());
    }

    /** Reads a checkpoint's manifest. */
    public CheckpointManifest checkpoint(String checkpoint) throws StorageException {
        String key = keys.checkpoint(checkpoint);
        if (store.size(key).isEmpty()) {
            throw new StorageException(
                    ErrorCode.UNKNOWN_CHECKPOINT,
                    "object " + key + ": no such checkpoint in the repository",
                    "list the checkpoints; look at bucket and prefix of the configuration");
        }
        return Manifests.decode(keys, checkpoint, store.get(key, Limits.MAX_CHECKPOINT_MANIFEST));
    }

    /** Reads the manifest of a VM that a checkpoint's manifest names. */
    public VmManifest vm(CheckpointManifest checkpoint, String vm) throws StorageException {
        VmArchive a = checkpoint.vms().stream()
                .filter(v -> v.vm().equals(vm))
                .findFirst()
                .orElseThrow(
                        () -> StorageException.corrupt(keys.checkpoint(checkpoint.checkpoint()), "has no VM " + vm));
        byte[] data = store.get(a.manifestKey(), Limits.MAX_VM_MANIFEST);
        if (!ChunkId.of(data).hex().equals(a.manifestSha256())) {
            throw StorageException.corrupt(a.manifestKey(), "its digest is not the one in the checkpoint's manifest");
        }
        VmManifest m = VmManifest.decode(a.manifestKey(), data);
        if (!m.vm().equals(vm) || !m.checkpoint().equals(checkpoint.checkpoint())) {
            throw StorageException.corrupt(a.manifestKey(), "is of VM " + m.vm() + " of checkpoint " + m.checkpoint());
        }
        return m;
    }
}
