package io.holdfast.storage.adapter.cli;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.adapter.file.KeyFile;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;

/** The service's settings as the command line sees them: system properties, else environment variables. */
final class Settings {
    private Settings() {}

    /** The setting {@code holdfast.storage.NAME}, or {@code otherwise}. */
    static String get(String name, String otherwise) {
        String key = "holdfast.storage." + name;
        String v = System.getProperty(key);
        if (v == null) {
            v = System.getenv(variable(name));
        }
        return v == null || v.isBlank() ? otherwise : v;
    }

    private static String variable(String name) {
        return "HOLDFAST_STORAGE_" + name.replace('-', '_').toUpperCase(Locale.ROOT);
    }

    private static String required(String name) throws StorageException {
        String v = get(name, null);
        if (v == null) {
            throw new StorageException(
                    ErrorCode.INVALID_EVENT,
                    "holdfast.storage." + name + " is not set",
                    "set the environment's " + variable(name)
                            + " as the storage service has it; while a dev stack is up here, its own is used");
        }
        return v;
    }

    static Keys keys() {
        return new Keys(get("prefix", ""));
    }

    static S3ObjectStore store() throws StorageException {
        return new S3ObjectStore(new S3ObjectStore.Access(
                required("endpoint"),
                get("region", "us-east-1"),
                required("access-key"),
                required("secret-key"),
                get("bucket", "holdfast"),
                Duration.ofSeconds(20)));
    }

    /** The repository's key, or null. */
    static WrapKey key() throws StorageException {
        String file = get("key-file", null);
        return KeyFile.read(file == null ? null : Path.of(file), get("key", null));
    }
}
