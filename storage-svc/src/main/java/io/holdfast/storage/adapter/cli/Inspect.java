package io.holdfast.storage.adapter.cli;

import io.holdfast.schemas.event.EventCodec;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.app.MappedRoom;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Inspector;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
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
        int limit = Inspector.limit(object);
        Room room = new MappedRoom(Path.of(System.getProperty("java.io.tmpdir")));
        ByteBuffer data;
        Vault vault = Vault.NONE;
        if (s3 || Settings.key() != null) {
            try (S3ObjectStore store = Settings.store()) {
                if (s3 && store.size(object).isEmpty()) {
                    throw new NoSuchFileException(name);
                }
                data = s3 ? store.get(object, limit, room) : read(Path.of(name), limit);
                if (Settings.key() != null) {
                    Keys keys = Settings.keys();
                    if (store.size(keys.config()).isEmpty()) { // looking makes no repository
                        throw StorageException.missing(keys.config());
                    }
                    vault = new Repository(store, keys, RepositoryConfig.DEFAULT_CHUNK, Settings.key()).vault();
                }
            }
        } else {
            data = read(Path.of(name), limit);
        }
        out.println(EventCodec.json()
                .writerWithDefaultPrettyPrinter()
                .writeValueAsString(Inspector.inspect(object, data, chunks, vault, room)));
        return 0;
    }

    private static ByteBuffer read(Path file, int limit) throws IOException {
        try (FileChannel c = FileChannel.open(file)) {
            if (c.size() > limit) {
                throw new IOException(file + " is larger than the limit of " + limit + " bytes");
            }
            return c.map(FileChannel.MapMode.READ_ONLY, 0, c.size());
        }
    }
}
