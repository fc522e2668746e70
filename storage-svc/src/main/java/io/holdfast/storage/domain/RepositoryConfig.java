package io.holdfast.storage.domain;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;
import java.time.Instant;

/**
 * What a repository is; written once by the first service that comes to an empty bucket.
 *
 * @param format version of the format: 1
 * @param repository random id
 * @param createdAt when it was made
 * @param chunkBytes size of chunks: all services of a repository cut alike, else nothing would be shared
 * @param digest how chunks are named: {@code sha256}
 * @param encryption null: none. Kept for a later version; a reader that does not know it refuses
 */
public record RepositoryConfig(
        int format, String repository, Instant createdAt, int chunkBytes, String digest, String encryption) {
    /** The version that this code writes. */
    public static final int FORMAT = 1;

    /** The object's bytes. */
    public byte[] encode() {
        try {
            return EventCodec.json().writeValueAsBytes(this);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Reads the object, refusing what this code cannot serve. */
    public static RepositoryConfig decode(String key, byte[] data) throws StorageException {
        RepositoryConfig c;
        try {
            JsonNode tree = EventCodec.json().readTree(data);
            if (tree == null || !tree.path("format").isInt()) {
                throw StorageException.corrupt(key, "not a repository config");
            }
            if (tree.path("format").asInt() != FORMAT) {
                throw new StorageException(
                        ErrorCode.REPOSITORY_CORRUPT,
                        "object " + key + ": format " + tree.path("format").asInt() + " is unknown",
                        "use a Holdfast that knows this format");
            }
            c = EventCodec.json().treeToValue(tree, RepositoryConfig.class);
        } catch (IOException e) {
            throw StorageException.corrupt(
                    key, "not a repository config: " + e.getClass().getSimpleName());
        }
        if (c.encryption != null) {
            throw new StorageException(
                    ErrorCode.REPOSITORY_CORRUPT,
                    "object " + key + ": the repository is encrypted, which this version cannot read",
                    "use a Holdfast that knows encryption");
        }
        if (!"sha256".equals(c.digest)) {
            throw StorageException.corrupt(key, "unknown digest " + Names.printable(c.digest));
        }
        if (c.chunkBytes < Limits.MIN_CHUNK || c.chunkBytes > Limits.MAX_CHUNK || Integer.bitCount(c.chunkBytes) != 1) {
            throw StorageException.corrupt(key, "chunk size " + c.chunkBytes + " is out of bounds");
        }
        return c;
    }
}
