package io.holdfast.storage.domain;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** Tells in JSON what an object of the repository holds, after all the checks that a reader makes. */
public final class Inspector {
    private Inspector() {}

    /** What an object is. */
    enum Kind {
        CONFIG("config"),
        PACK("pack"),
        INDEX("index"),
        VM_MANIFEST("vm-manifest"),
        CHECKPOINT_MANIFEST("checkpoint-manifest"),
        HOLD("hold"),
        GONE("gone"),
        MARK("gc-mark"),
        SWEEP("gc-sweep"),
        RUN("gc-run");

        private final String word;

        Kind(String word) {
            this.word = word;
        }
    }

    /** Longest content of what counts by being there. */
    private static final int MAX_NOTE = 64;

    /** Inspects an object that is on the heap, see {@link #inspect(String, ByteBuffer, boolean, Vault, Room)}. */
    public static ObjectNode inspect(String name, byte[] data, boolean chunks, Vault vault) throws StorageException {
        return inspect(name, ByteBuffer.wrap(data), chunks, vault, Room.HEAP);
    }

    /**
     * Inspects an object. Its folder says what it must be; one that was copied out of its folder is told by its content.
     *
     * @param name its key or file name, for messages and, where its last part is a digest, to be checked against
     * @param data the whole object
     * @param chunks true: list every chunk, else only how many
     * @param vault of its repository; {@link Vault#NONE} tells of a sealed object only what can be seen without the key
     * @param room takes what a sealed object holds
     * @throws StorageException REPOSITORY_CORRUPT if it is none of ours, broken, or not what its folder is for
     */
    public static ObjectNode inspect(String name, ByteBuffer data, boolean chunks, Vault vault, Room room)
            throws StorageException {
        ObjectNode out = EventCodec.json().createObjectNode();
        out.put("object", name).put("bytes", data.remaining());
        ChunkId digest = ChunkId.of(data);
        out.put("sha256", digest.hex());
        ChunkId told = ChunkId.parse(name.substring(name.lastIndexOf('/') + 1));
        if (told != null && !told.equals(digest)) {
            throw StorageException.corrupt(name, "its digest is not its name");
        }
        if (Vault.looksSealed(data)) {
            out.put("sealed", true);
            if (!vault.sealed()) {
                return out.put("kind", "sealed");
            }
            content(out, name, digest, vault.openObject(name, sealedAs(name), data, room), chunks, vault);
        } else {
            content(out, name, digest, data, chunks, vault);
        }
        return out;
    }

    /** What an object must be by its key; null where that does not say it. */
    private static Kind byKey(String name) {
        String[] parts = name.split("/", -1);
        int n = parts.length;
        String last = parts[n - 1];
        if (n >= 3 && parts[n - 3].equals("vms") && last.endsWith(".hfvm")) {
            return Kind.VM_MANIFEST;
        }
        return switch (n < 2 ? "" : parts[n - 2]) {
            case "packs" -> Kind.PACK;
            case "index" -> Kind.INDEX;
            case "checkpoints" -> Kind.CHECKPOINT_MANIFEST;
            case "holds" -> Kind.HOLD;
            case "gone" -> Kind.GONE;
            case "proposals" -> Kind.CONFIG;
            case "gc" ->
                last.startsWith("mark-")
                        ? Kind.MARK
                        : last.startsWith("sweep-") ? Kind.SWEEP : last.startsWith("run-") ? Kind.RUN : null;
            default -> last.equals("config") ? Kind.CONFIG : null;
        };
    }

    /** The largest object that there can be of what the name says, or of any. */
    public static int limit(String name) {
        return Vault.OBJECT_OVERHEAD
                + switch (byKey(name)) {
                    case PACK -> Limits.MAX_PACK;
                    case INDEX -> Limits.MAX_INDEX;
                    case CHECKPOINT_MANIFEST -> Limits.MAX_CHECKPOINT_MANIFEST;
                    case CONFIG -> Limits.MAX_CONFIG;
                    case HOLD -> Limits.MAX_HOLD;
                    case MARK, SWEEP -> Limits.MAX_MARK;
                    case GONE, RUN -> MAX_NOTE;
                    case VM_MANIFEST -> Limits.MAX_VM_MANIFEST;
                    case null -> Limits.MAX_VM_MANIFEST;
                };
    }

    /** What an object was sealed as; the prefix of its repository may be any. */
    private static String sealedAs(String name) {
        for (String folder : new String[] {"index/", "vms/", "checkpoints/"}) {
            int at = name.lastIndexOf("/" + folder);
            if (at >= 0) {
                return new Keys(name.substring(0, at + 1)).sealedAs(name);
            }
        }
        return new Keys("").sealedAs(name);
    }

    private static void content(
            ObjectNode out, String name, ChunkId digest, ByteBuffer data, boolean chunks, Vault vault)
            throws StorageException {
        int magic = data.remaining() < 4 ? 0 : data.getInt(data.position());
        Kind must = byKey(name);
        switch (magic) {
            case PackFormat.MAGIC -> {
                is(name, Kind.PACK, must);
                if (data.remaining() > Limits.MAX_PACK) {
                    throw StorageException.corrupt(name, "too long for a pack: " + data.remaining() + " bytes");
                }
                byte[] pack = bytes(data);
                if (PackFormat.isSealed(pack) && !vault.sealed()) {
                    out.put("kind", "pack").put("version", PackFormat.VERSION).put("sealed", true);
                } else {
                    pack(out, PackFormat.read(name, digest, pack, vault), chunks);
                }
            }
            case IndexFormat.MAGIC -> {
                is(name, Kind.INDEX, must);
                index(out, name, data, vault.sealed(), chunks);
            }
            case VmManifest.MAGIC -> {
                is(name, Kind.VM_MANIFEST, must);
                vm(out, VmManifest.decode(name, data), chunks);
            }
            default -> {
                if (data.remaining() > Limits.MAX_CHECKPOINT_MANIFEST) {
                    throw StorageException.corrupt(name, "no magic of ours, and too long for anything else");
                }
                if (must == Kind.GONE || must == Kind.RUN) {
                    note(out, name, must, bytes(data));
                } else {
                    json(out, name, must, bytes(data));
                }
            }
        }
    }

    private static byte[] bytes(ByteBuffer data) {
        byte[] copy = new byte[data.remaining()];
        data.get(data.position(), copy);
        return copy;
    }

    private static void is(String name, Kind kind, Kind must) throws StorageException {
        if (must != null && must != kind) {
            throw StorageException.corrupt(name, "its content is a " + kind.word + ", its key that of a " + must.word);
        }
    }

    /** Counts by being there; what is in it is for people. */
    private static void note(ObjectNode out, String name, Kind kind, byte[] data) throws StorageException {
        String text = new String(data, StandardCharsets.UTF_8);
        if (data.length > MAX_NOTE || text.chars().anyMatch(c -> c < ' ' || c > '~')) {
            throw StorageException.corrupt(name, "not a note of ours");
        }
        out.put("kind", kind.word).put("content", text);
    }

    private static void pack(ObjectNode out, Table t, boolean chunks) {
        out.put("kind", "pack").put("version", PackFormat.VERSION);
        table(out, t, chunks);
    }

    private static void table(ObjectNode out, Table t, boolean chunks) {
        out.put("chunks", t.entries().size());
        out.put("plainBytes", t.entries().stream().mapToLong(Entry::plainBytes).sum());
        out.put(
                "storedBytes",
                t.entries().stream().mapToLong(Entry::storedBytes).sum());
        if (chunks) {
            ArrayNode list = out.putArray("entries");
            int offset = PackFormat.HEADER;
            for (Entry e : t.entries()) {
                list.addObject()
                        .put("id", e.id().hex())
                        .put("offset", offset)
                        .put("plainBytes", e.plainBytes())
                        .put("storedBytes", e.storedBytes())
                        .put("encoding", (e.encoding() & PackFormat.ZSTD) == 0 ? "raw" : "zstd")
                        .put("sealed", (e.encoding() & PackFormat.SEALED) != 0);
                offset += e.storedBytes();
            }
        }
    }

    private static void index(ObjectNode out, String name, ByteBuffer data, boolean sealed, boolean chunks)
            throws StorageException {
        ArrayNode list = EventCodec.json().createArrayNode();
        IndexFormat.each(
                name,
                data,
                sealed,
                t -> table(list.addObject().put("pack", t.id().hex()).put("packBytes", t.objectBytes()), t, chunks));
        out.put("kind", "index").put("version", IndexFormat.VERSION).set("packs", list);
    }

    private static void vm(ObjectNode out, VmManifest m, boolean chunks) {
        out.put("kind", "vm-manifest").put("version", VmManifest.VERSION);
        out.put("checkpoint", m.checkpoint()).put("vm", m.vm()).put("chunkBytes", m.chunkBytes());
        out.put("logicalBytes", m.logicalBytes()).put("dataBytes", m.dataBytes());
        ArrayNode files = out.putArray("files");
        for (VmManifest.File f : m.files()) {
            ObjectNode node = files.addObject()
                    .put("name", f.name())
                    .put("bytes", f.bytes())
                    .put("dataBytes", f.dataBytes(m.chunkBytes()))
                    .put("sha256", f.sha256() == null ? null : f.sha256().hex())
                    .put("runs", f.runs().size());
            if (chunks) {
                ArrayNode list = node.putArray("chunks");
                for (VmManifest.Run r : f.runs()) {
                    for (int i = 0; i < r.count(); i++) {
                        list.addObject()
                                .put("offset", (r.first() + i) * m.chunkBytes())
                                .put("id", r.id(i).hex());
                    }
                }
            }
        }
    }

    private static void json(ObjectNode out, String name, Kind must, byte[] data) throws StorageException {
        JsonNode tree;
        try {
            tree = Json.tree(data);
        } catch (IOException e) {
            throw StorageException.corrupt(name, "neither a magic of ours nor JSON");
        }
        Kind kind = must == null ? byContent(name, tree) : must;
        switch (kind) {
            case CHECKPOINT_MANIFEST -> {
                int at = name.lastIndexOf("checkpoints/");
                String checkpoint = must == null
                        ? tree.path("checkpoint").asText()
                        : name.substring(name.lastIndexOf('/') + 1).replaceFirst("\\.json$", "");
                Manifests.decode(new Keys(at < 0 ? prefixOf(tree) : name.substring(0, at)), checkpoint, data);
            }
            case CONFIG -> RepositoryConfig.decode(name, data);
            case HOLD -> {
                Hold h = Hold.decode(name, data);
                if (must != null && !name.endsWith("/" + h.checkpoint() + ".json")) {
                    throw StorageException.corrupt(name, "is of checkpoint " + h.checkpoint());
                }
            }
            case MARK, SWEEP -> Mark.decode(name, data);
            default -> throw StorageException.corrupt(name, "has no magic of a " + kind.word);
        }
        out.put("kind", kind.word);
        out.set("content", tree);
    }

    private static Kind byContent(String name, JsonNode tree) throws StorageException {
        if (tree != null && tree.has("heldAt")) {
            return Kind.HOLD;
        }
        if (tree != null && tree.has("checkpoint")) {
            return Kind.CHECKPOINT_MANIFEST;
        }
        if (tree != null && tree.has("chunkBytes")) {
            return Kind.CONFIG;
        }
        if (tree != null && tree.has("packs") && tree.has("manifests")) {
            return Kind.MARK;
        }
        throw StorageException.corrupt(name, "JSON, but no object of a repository");
    }

    /** The prefix of a manifest that was copied out of its bucket, from the keys in it. */
    private static String prefixOf(JsonNode tree) {
        String key = tree.path("vms").path(0).path("manifestKey").asText("");
        int at = key.lastIndexOf("vms/" + tree.path("checkpoint").asText() + "/");
        return at < 0 ? "" : key.substring(0, at);
    }
}
