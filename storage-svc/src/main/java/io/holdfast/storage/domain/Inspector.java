package io.holdfast.storage.domain;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** Tells in JSON what an object of the repository holds, after all the checks that a reader makes. */
public final class Inspector {
    private Inspector() {}

    /**
     * Inspects an object.
     *
     * @param name its key or file name, for messages and, where its last part is a digest, to be checked against
     * @param data the whole object
     * @param chunks true: list every chunk, else only how many
     * @param vault of its repository; {@link Vault#NONE} tells of a sealed object only what can be seen without the key
     * @throws StorageException REPOSITORY_CORRUPT if it is none of ours or broken
     */
    public static ObjectNode inspect(String name, byte[] data, boolean chunks, Vault vault) throws StorageException {
        ObjectNode out = EventCodec.json().createObjectNode();
        out.put("object", name).put("bytes", data.length);
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
            content(out, name, digest, vault.openObject(name, sealedAs(name), data), chunks, vault);
        } else {
            content(out, name, digest, data, chunks, vault);
        }
        return out;
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

    private static void content(ObjectNode out, String name, ChunkId digest, byte[] data, boolean chunks, Vault vault)
            throws StorageException {
        int magic = data.length < 4 ? 0 : ByteBuffer.wrap(data).getInt();
        switch (magic) {
            case PackFormat.MAGIC -> {
                if (PackFormat.isSealed(data) && !vault.sealed()) {
                    out.put("kind", "pack").put("version", PackFormat.VERSION).put("sealed", true);
                } else {
                    pack(out, PackFormat.read(name, digest, data, vault), chunks);
                }
            }
            case IndexFormat.MAGIC -> index(out, IndexFormat.decode(name, data, vault.sealed()), chunks);
            case VmManifest.MAGIC -> vm(out, VmManifest.decode(name, data), chunks);
            default -> json(out, name, data);
        }
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

    private static void index(ObjectNode out, List<Table> packs, boolean chunks) {
        out.put("kind", "index").put("version", IndexFormat.VERSION);
        ArrayNode list = out.putArray("packs");
        for (Table t : packs) {
            table(list.addObject().put("pack", t.id().hex()).put("packBytes", t.objectBytes()), t, chunks);
        }
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

    private static void json(ObjectNode out, String name, byte[] data) throws StorageException {
        JsonNode tree;
        try {
            tree = EventCodec.json().readTree(data);
        } catch (IOException e) {
            throw StorageException.corrupt(name, "neither a magic of ours nor JSON");
        }
        if (tree != null && tree.has("checkpoint")) {
            String checkpoint = tree.path("checkpoint").asText();
            int at = name.lastIndexOf("checkpoints/");
            Manifests.decode(new Keys(at < 0 ? prefixOf(tree) : name.substring(0, at)), checkpoint, data);
            out.put("kind", "checkpoint-manifest");
        } else if (tree != null && tree.has("chunkBytes")) {
            RepositoryConfig.decode(name, data);
            out.put("kind", "config");
        } else {
            throw StorageException.corrupt(name, "JSON, but no object of a repository");
        }
        out.set("content", tree);
    }

    /** The prefix of a manifest that was copied out of its bucket, from the keys in it. */
    private static String prefixOf(JsonNode tree) {
        String key = tree.path("vms").path(0).path("manifestKey").asText("");
        int at = key.lastIndexOf("vms/" + tree.path("checkpoint").asText() + "/");
        return at < 0 ? "" : key.substring(0, at);
    }
}
