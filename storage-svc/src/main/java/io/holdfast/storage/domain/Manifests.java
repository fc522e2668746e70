package io.holdfast.storage.domain;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.VmArchive;
import java.util.HashSet;
import java.util.Set;

/** A checkpoint's manifest as an object: the JSON of {@link CheckpointManifest}, maps ordered by key. */
public final class Manifests {
    /** The version that this code writes. */
    public static final int FORMAT = 1;

    private Manifests() {}

    /** The object's bytes. */
    public static byte[] encode(CheckpointManifest m) {
        return JsonObject.encode(m);
    }

    /** Reads a manifest and checks version, names and keys. */
    public static CheckpointManifest decode(Keys keys, String checkpoint, byte[] data) throws StorageException {
        String key = keys.checkpoint(checkpoint);
        CheckpointManifest m = JsonObject.decode(key, "checkpoint manifest", data, CheckpointManifest.class, FORMAT);
        check(keys, key, checkpoint, m);
        return m;
    }

    /** Checks names and keys of a manifest. */
    public static void check(Keys keys, String key, String checkpoint, CheckpointManifest m) throws StorageException {
        if (m.format() != FORMAT) {
            throw StorageException.corrupt(key, "format " + m.format() + " is unknown, this code reads " + FORMAT);
        }
        if (!Names.valid(m.checkpoint()) || !m.checkpoint().equals(checkpoint)) {
            throw StorageException.corrupt(key, "is of checkpoint " + Names.printable(m.checkpoint()));
        }
        if (!Names.valid(m.instance())) {
            throw StorageException.corrupt(key, "bad instance name " + Names.printable(m.instance()));
        }
        Set<String> seen = new HashSet<>();
        for (VmArchive a : m.vms()) {
            if (!Names.valid(a.vm()) || !seen.add(a.vm())) {
                throw StorageException.corrupt(key, "bad or repeated VM name " + Names.printable(a.vm()));
            }
            if (!keys.vm(checkpoint, a.vm()).equals(a.manifestKey())) {
                throw StorageException.corrupt(
                        key, "VM " + a.vm() + " has the key " + Names.printable(a.manifestKey()));
            }
            if (ChunkId.parse(a.manifestSha256()) == null) {
                throw StorageException.corrupt(key, "VM " + a.vm() + " has no digest");
            }
        }
    }
}
