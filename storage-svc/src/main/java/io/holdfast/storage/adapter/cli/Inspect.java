package io.holdfast.storage.adapter.cli;

import io.holdfast.schemas.event.EventCodec;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Inspector;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code inspect [--chunks] [-o json] FILE|s3:KEY}: tells in JSON what an object of a repository holds. Of an encrypted repository's object
 * everything where the key is configured (for a FILE together with the bucket that has the config), else what can be seen without.
 */
final class Inspect {
    private Inspect() {}

    static int run(List<String> args, PrintStream out) throws StorageException, IOException {
        List<String> words = new ArrayList<>(args);
        boolean chunks = words.remove("--chunks");
        int format = words.indexOf("-o"); // holdfast inspect -o json: it is JSON in any case
        if (format >= 0 && format + 1 < words.size() && words.get(format + 1).equals("json")) {
            words.subList(format, format + 2).clear();
        }
        if (words.size() != 1 || words.get(0).startsWith("-") || words.get(0).equals("s3:")) {
            throw new UsageException();
        }
        String name = words.get(0);
        boolean s3 = name.startsWith("s3:");
        String object = s3 ? name.substring(3) : name;
        byte[] data;
        Vault vault = Vault.NONE;
        if (s3 || Settings.key() != null) {
            try (S3ObjectStore store = Settings.store()) {
                if (s3 && store.size(object).isEmpty()) {
                    throw new NoSuchFileException(name);
                }
                data = s3 ? store.get(object, Limits.MAX_INDEX) : read(Path.of(name));
                if (Settings.key() != null) {
                    Keys keys = Settings.keys();
                    vault = new Repository(store, keys, RepositoryConfig.DEFAULT_CHUNK, Settings.key()).vault();
                }
            }
        } else {
            data = read(Path.of(name));
        }
        out.println(EventCodec.json()
                .writerWithDefaultPrettyPrinter()
                .writeValueAsString(Inspector.inspect(object, data, chunks, vault)));
        return 0;
    }

    private static byte[] read(Path file) throws IOException {
        if (Files.size(file) > Limits.MAX_INDEX) {
            throw new IOException(file + " is larger than any object of a repository");
        }
        return Files.readAllBytes(file);
    }
}
