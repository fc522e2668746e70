package io.holdfast.storage.app;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.IndexFormat;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.Manifests;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.ObjectStore.Stored;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.RepositoryConfig.Opened;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import io.holdfast.storage.domain.VmManifest;
import io.holdfast.storage.domain.WrapKey;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import java.util.UUID;
import org.jboss.logging.Logger;

/** A repository's config, keys and manifests. Thread-safe. */
public final class Repository {
    private static final Logger LOG = Logger.getLogger(Repository.class);
    /** So long after its own proposal was stored a service looks which one is the earliest, where the server knows no conditions. */
    private static final Duration SETTLE = Duration.ofSeconds(10);

    private final ObjectStore store;
    private final Keys keys;
    private final int chunkBytes;
    private final WrapKey key;
    private volatile Room room = Room.HEAP;
    private volatile Duration newGrace = RepositoryConfig.DEFAULT_GRACE;
    private volatile Opened opened;

    /**
     * Makes the view; nothing is read yet.
     *
     * @param chunkBytes for a repository that does not exist yet
     * @param key the key that opens it, null for a repository without encryption
     */
    public Repository(ObjectStore store, Keys keys, int chunkBytes, WrapKey key) {
        this.store = store;
        this.keys = keys;
        this.chunkBytes = chunkBytes;
        this.key = key;
    }

    /**
     * The config, written when there is none: with a key as an encrypted repository. Two services that come at once agree on one.
     *
     * @throws StorageException WRONG_KEY if key and repository do not fit
     */
    public RepositoryConfig open() throws StorageException {
        return opened().config();
    }

    /** The repository's data key at work. Opens it first if need be. */
    public Vault vault() throws StorageException {
        return opened().vault();
    }

    private Opened opened() throws StorageException {
        Opened o = opened;
        if (o == null) {
            String object = keys.config();
            byte[] data = find(object, Limits.MAX_CONFIG);
            if (data == null) {
                for (String folder : List.of(keys.checkpoints(), keys.vms(), keys.packs())) {
                    if (!store.list(folder).isEmpty() && store.size(object).isEmpty()) {
                        throw new StorageException(
                                ErrorCode.REPOSITORY_CORRUPT,
                                "object " + object + ": is gone, although " + folder + " holds objects",
                                "restore it from a copy of the bucket; without it an encrypted repository cannot be read");
                    }
                }
                data = make(object);
            }
            RepositoryConfig c = RepositoryConfig.decode(object, data);
            o = new Opened(c, c.open(object, key));
            opened = o;
        }
        return o;
    }

    /**
     * Writes the config of a new repository. All services that come at once end up with the same one: by a conditional put, or, on a server
     * that has none, because each proposes, waits, and then takes the earliest proposal, see docs/formats.md.
     *
     * @return the config that is there
     */
    private byte[] make(String object) throws StorageException {
        RepositoryConfig mine = RepositoryConfig.create(
                        UUID.randomUUID().toString(), Instant.now(), chunkBytes, key, newGrace)
                .config();
        List<String> proposals = new ArrayList<>(List.of(keys.proposal(mine.repository())));
        byte[] chosen = mine.encode();
        if (!store.excludes(proposals.get(0), chosen)) {
            pause(SETTLE);
            List<Stored> all = store.list(keys.proposals());
            if (find(object, Limits.MAX_CONFIG)
                    == null) { // else its maker may have removed proposals before we listed them
                Stored first = Collections.min(
                        all, Comparator.comparing(Stored::modified).thenComparing(Stored::key));
                chosen = find(first.key(), Limits.MAX_CONFIG);
                if (chosen != null) {
                    RepositoryConfig.decode(first.key(), chosen);
                }
            }
            all.forEach(s -> proposals.add(s.key()));
        }
        if (chosen != null) {
            store.putIfAbsent(object, chosen);
        }
        byte[] made = store.get(object, Limits.MAX_CONFIG);
        try {
            for (String p : proposals) {
                store.delete(p);
            }
        } catch (StorageException e) { // harmless: only who finds no config looks at them
            LOG.warnf("event=proposal-kept reason=\"%s\"", e.getMessage());
        }
        return made;
    }

    private static void pause(Duration time) throws StorageException {
        try {
            Thread.sleep(time);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new StorageException(ErrorCode.INTERRUPTED, "the service is ending", "try again", e);
        }
    }

    /**
     * Looks whether the bucket still holds the repository that was opened: call it before what relies on that is written. One GET.
     *
     * @throws StorageException REPOSITORY_CORRUPT if its config is gone, broken or of another repository; REPOSITORY_UNAVAILABLE if the bucket is not there
     */
    public void confirm() throws StorageException {
        Opened o = opened;
        if (o == null) {
            opened();
            return;
        }
        String object = keys.config();
        byte[] data = find(object, Limits.MAX_CONFIG);
        if (data == null) {
            throw new StorageException(
                    ErrorCode.REPOSITORY_CORRUPT,
                    "object " + object + ": is missing, although this service has opened the repository",
                    "bring back the bucket that held it; if it is the right one: rebuild writes the config that this service knows");
        }
        RepositoryConfig now;
        try {
            now = RepositoryConfig.decode(object, data);
            if (now.isOf(o.config()) && now.hasWrapOf(key)) {
                now.open(object, key);
            }
        } catch (StorageException e) {
            throw new StorageException(
                    e.code(),
                    e.getMessage(),
                    "restore it from a copy of the bucket; or delete it and rebuild: this service writes the one that it knows",
                    e);
        }
        if (!now.isOf(o.config())) {
            throw new StorageException(
                    ErrorCode.REPOSITORY_CORRUPT,
                    "object " + object + ": is of another repository than the one that this service opened, "
                            + o.config().repository(),
                    "bring back the bucket, or the config, that was there; to use the other one, start the storage services again");
        }
        opened = new Opened(now, o.vault()); // its wraps may have changed
    }

    /**
     * Writes the config again where it is gone: the one that this service knows.
     *
     * @return whether it was gone
     */
    public boolean bringBackConfig(boolean dryRun) throws StorageException {
        byte[] known = opened().config().encode();
        String object = keys.config();
        return find(object, Limits.MAX_CONFIG) == null && (dryRun || store.putIfAbsent(object, known));
    }

    /** Reads a metadata object: what it holds, opened where the repository is encrypted. */
    public byte[] load(String object, int limit) throws StorageException {
        return unsealed(object, store.get(object, limit + Vault.OBJECT_OVERHEAD));
    }

    /** Reads a metadata object that may be large: what is stored, which {@link #unsealed} opens. */
    public ByteBuffer loadLarge(String object, int limit) throws StorageException {
        return store.get(object, limit + Vault.OBJECT_OVERHEAD, room);
    }

    /** What a stored metadata object holds that may be large. */
    public ByteBuffer unsealed(String object, ByteBuffer stored) throws StorageException {
        return vault().openObject(object, keys.sealedAs(object), stored, room);
    }

    /** Stores a VM manifest; returns the object's digest and size. */
    public StoredManifest put(String object, VmManifest m) throws StorageException {
        ByteBuffer data = vault().sealObject(keys.sealedAs(object), m.encode(room), room);
        store.put(object, data);
        return new StoredManifest(ChunkId.of(data), data.remaining());
    }

    /** A VM manifest that was stored. */
    public record StoredManifest(ChunkId sha256, long bytes) {}

    /** What a stored metadata object holds. */
    public byte[] unsealed(String object, byte[] stored) throws StorageException {
        return vault().openObject(object, keys.sealedAs(object), stored);
    }

    /** A metadata object as it is stored; the same content gives the same bytes. */
    public byte[] sealed(String object, byte[] content) throws StorageException {
        return vault().sealObject(keys.sealedAs(object), content);
    }

    /** Lets one more key open the repository. Returns the ids of all that do. */
    public synchronized List<String> addKey(WrapKey more) throws StorageException {
        return rewrite(c -> c.add(vault(), more, Instant.now()));
    }

    /** Takes a key away; the one that is configured here stays. Returns the ids of those that are left. */
    public synchronized List<String> removeKey(String keyId) throws StorageException {
        return rewrite(c -> c.remove(keyId, key));
    }

    /** The ids of the keys that open the repository. */
    public List<String> keyIds() throws StorageException {
        opened = null;
        return ids(open());
    }

    private static List<String> ids(RepositoryConfig c) {
        return c.encryption() == null
                ? List.of()
                : c.encryption().wraps().stream()
                        .map(RepositoryConfig.Wrap::keyId)
                        .toList();
    }

    private interface Change {
        RepositoryConfig of(RepositoryConfig c) throws StorageException;
    }

    private List<String> rewrite(Change change) throws StorageException {
        opened = null;
        RepositoryConfig before = open();
        if (before.encryption() == null) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    "object " + keys.config() + ": the repository is not encrypted",
                    "encryption is chosen when a repository is made: configure a key and another bucket or prefix");
        }
        RepositoryConfig after = change.of(before);
        byte[] data = after.encode();
        store.put(keys.config(), data, 0, data.length);
        opened = null;
        if (!open().equals(after)) {
            throw new StorageException(
                    ErrorCode.REPOSITORY_CORRUPT,
                    "object " + keys.config() + ": somebody else changed it at the same time",
                    "look which keys there are: keys list");
        }
        return ids(after);
    }

    /** The grace period of a repository that is made by this service; of one that is there, its own counts. */
    public Repository graceOfNew(Duration grace) {
        newGrace = grace;
        return this;
    }

    /** Where large manifests and indexes go while they are used; else the heap. */
    public Repository roomOfLarge(Room large) {
        room = large;
        return this;
    }

    /** How long garbage is marked before it is deleted. */
    public Duration grace() throws StorageException {
        return open().grace();
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
     * <p>Prerequisites: every VM manifest is there, and the bucket holds the repository that was opened. On success: the manifest is there; the same again changes nothing. On
     * failure: nothing changed, or the manifest is there whole. One that comes so late that a prune may have begun to
     * remove what it names is taken back: TOO_LATE.
     */
    public Committed commit(CheckpointManifest manifest) throws StorageException {
        String key = keys.checkpoint(manifest.checkpoint());
        Manifests.check(keys, key, manifest.checkpoint(), manifest);
        confirm();
        for (VmArchive a : manifest.vms()) {
            OptionalLong size = store.size(a.manifestKey());
            if (size.isEmpty()) {
                throw StorageException.corrupt(a.manifestKey(), "is missing, so the checkpoint cannot be committed");
            }
        }
        byte[] data = sealed(key, Manifests.encode(manifest));
        if (!store.putIfAbsent(key, data)) {
            byte[] there = store.get(key, Limits.MAX_CHECKPOINT_MANIFEST + Vault.OBJECT_OVERHEAD);
            if (!Manifests.decode(keys, manifest.checkpoint(), unsealed(key, there))
                    .equals(manifest)) {
                throw new StorageException(
                        ErrorCode.REPOSITORY_CORRUPT,
                        "object " + key + ": is there already with other content",
                        "two checkpoints have one id: look who else writes to this bucket");
            }
            data = there;
        }
        new Leases(store, keys, this).checkCommit(manifest);
        return new Committed(key, ChunkId.of(data).hex());
    }

    /** Reads a checkpoint's manifest. */
    public CheckpointManifest checkpoint(String checkpoint) throws StorageException {
        String key = keys.checkpoint(checkpoint);
        byte[] data = find(key, Limits.MAX_CHECKPOINT_MANIFEST + Vault.OBJECT_OVERHEAD);
        if (data == null) {
            throw new StorageException(
                    ErrorCode.UNKNOWN_CHECKPOINT,
                    "object " + key + ": no such checkpoint in the repository",
                    "list the checkpoints; look at bucket and prefix of the configuration");
        }
        return Manifests.decode(keys, checkpoint, unsealed(key, data));
    }

    /** An object's bytes; null when there is none. */
    private byte[] find(String object, long limit) throws StorageException {
        try {
            return store.get(object, limit);
        } catch (StorageException e) {
            if (e.isMissing()) {
                return null;
            }
            throw e;
        }
    }

    /** Reads the manifest of a VM that a checkpoint's manifest names. */
    public VmManifest vm(CheckpointManifest checkpoint, String vm) throws StorageException {
        VmArchive a = checkpoint.vms().stream()
                .filter(v -> v.vm().equals(vm))
                .findFirst()
                .orElseThrow(
                        () -> StorageException.corrupt(keys.checkpoint(checkpoint.checkpoint()), "has no VM " + vm));
        return vm(checkpoint.checkpoint(), a);
    }

    /** Reads the manifest of a VM as a checkpoint's manifest names it. */
    public VmManifest vm(String checkpoint, VmArchive a) throws StorageException {
        ByteBuffer data = loadLarge(a.manifestKey(), Limits.MAX_VM_MANIFEST);
        if (!ChunkId.of(data).hex().equals(a.manifestSha256())) {
            throw StorageException.corrupt(a.manifestKey(), "its digest is not the one in the checkpoint's manifest");
        }
        VmManifest m = VmManifest.decode(a.manifestKey(), unsealed(a.manifestKey(), data));
        if (!m.vm().equals(a.vm()) || !m.checkpoint().equals(checkpoint)) {
            throw StorageException.corrupt(a.manifestKey(), "is of VM " + m.vm() + " of checkpoint " + m.checkpoint());
        }
        return m;
    }

    /** Reads a VM manifest that no checkpoint's manifest vouches for. */
    public VmManifest orphan(String object) throws StorageException {
        return VmManifest.decode(object, unsealed(object, loadLarge(object, Limits.MAX_VM_MANIFEST)));
    }

    /**
     * Reads an index, checked, without any cache.
     *
     * @param each takes its packs, one at a time
     */
    public void index(ChunkId id, IndexFormat.EachTable each) throws StorageException {
        String key = keys.index(id);
        ByteBuffer data = loadLarge(key, Limits.MAX_INDEX);
        if (!ChunkId.of(data).equals(id)) {
            throw StorageException.corrupt(key, "its digest is not its name");
        }
        IndexFormat.each(key, unsealed(key, data), vault().sealed(), each);
    }
}
