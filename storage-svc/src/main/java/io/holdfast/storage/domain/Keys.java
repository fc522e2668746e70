package io.holdfast.storage.domain;

/**
 * The keys of a repository's objects. No key is a prefix of another followed by {@code /}: servers that keep objects as
 * files need that.
 *
 * @param prefix goes before every key, empty or ending in {@code /}
 */
public record Keys(String prefix) {
    public Keys {
        prefix = prefix == null || prefix.isBlank() ? "" : prefix.endsWith("/") ? prefix : prefix + "/";
    }

    /**
     * The name that a metadata object is sealed under: its key below the prefix; for an index, whose key is its digest, only
     * {@code index}.
     */
    public String sealedAs(String key) {
        String name = key.startsWith(prefix) ? key.substring(prefix.length()) : key;
        return name.startsWith("index/") ? "index" : name;
    }

    /** What the repository is. */
    public String config() {
        return prefix + "config";
    }

    /** Folder of configs that were proposed for a repository that is made. */
    public String proposals() {
        return prefix + "proposals/";
    }

    /** A config that was proposed. */
    public String proposal(String repository) {
        return proposals() + repository;
    }

    /** Folder of packs. */
    public String packs() {
        return prefix + "packs/";
    }

    /** A pack, by the SHA-256 of its content. */
    public String pack(ChunkId id) {
        return packs() + id.hex();
    }

    /** Folder of indexes. */
    public String indexes() {
        return prefix + "index/";
    }

    /** An index, by the SHA-256 of its content. */
    public String index(ChunkId id) {
        return indexes() + id.hex();
    }

    /** Folder of VM manifests. */
    public String vms() {
        return prefix + "vms/";
    }

    /** A VM's manifest. */
    public String vm(String checkpoint, String vm) {
        return vms() + checkpoint + "/" + vm + ".hfvm";
    }

    /** Folder of checkpoint manifests. */
    public String checkpoints() {
        return prefix + "checkpoints/";
    }

    /** Folder of what garbage collection notes. */
    public String gc() {
        return prefix + "gc/";
    }

    /** Folder of what holds checkpoints. */
    public String holds() {
        return prefix + "holds/";
    }

    /** There as long as the checkpoint is held. */
    public String hold(String checkpoint) {
        return holds() + checkpoint + ".json";
    }

    /** Folder of what says that a checkpoint is on its way out. */
    public String goneFolder() {
        return prefix + "gone/";
    }

    /** Written before anything of a checkpoint is deleted: it can neither be held nor committed any more. */
    public String gone(String checkpoint) {
        return goneFolder() + checkpoint;
    }

    /** A checkpoint's manifest: there when, and only when, the checkpoint is. */
    public String checkpoint(String checkpoint) {
        return checkpoints() + checkpoint + ".json";
    }
}
