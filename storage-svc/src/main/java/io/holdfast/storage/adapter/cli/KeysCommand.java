package io.holdfast.storage.adapter.cli;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.adapter.file.KeyFile;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.RepositoryConfig;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;

/** {@code keys new|list|add FILE|remove ID}: the keys that open an encrypted repository. */
final class KeysCommand {
    private KeysCommand() {}

    static int run(List<String> words, PrintStream out) throws StorageException {
        String what = words.isEmpty() ? "" : words.get(0);
        if (words.size() != (what.equals("add") || what.equals("remove") ? 2 : 1)) {
            throw new UsageException();
        }
        switch (what) {
            case "new" -> out.println(WrapKey.random());
            case "list", "add", "remove" -> {
                try (S3ObjectStore store = Settings.store()) {
                    Keys keys = Settings.keys();
                    if (store.size(keys.config()).isEmpty()) {
                        throw new StorageException(
                                ErrorCode.REPOSITORY_UNAVAILABLE,
                                "object " + keys.config() + ": there is no repository",
                                "check bucket and prefix; the storage service makes it with its first archive");
                    }
                    WrapKey mine = Settings.key();
                    Repository r = new Repository(store, keys, RepositoryConfig.DEFAULT_CHUNK, mine);
                    List<String> ids =
                            switch (what) {
                                case "add" -> r.addKey(KeyFile.ofFile(Path.of(words.get(1)), "the new key"));
                                case "remove" -> r.removeKey(words.get(1));
                                default -> r.keyIds();
                            };
                    for (String id : ids) {
                        out.println(id + (mine != null && id.equals(mine.id()) ? "  configured" : ""));
                    }
                }
            }
            default -> throw new UsageException();
        }
        return 0;
    }
}
