package io.holdfast.storage.adapter.file;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import org.jboss.logging.Logger;

/** Reads the repository's key from where the configuration says. */
public final class KeyFile {
    private static final Logger LOG = Logger.getLogger(KeyFile.class);
    private static final int MAX = 4096;

    private KeyFile() {}

    /**
     * The key.
     *
     * @param file setting {@code key-file}, or null
     * @param text setting {@code key}, or null
     * @return null if neither is given
     * @throws StorageException WRONG_KEY naming the setting
     */
    public static WrapKey read(Path file, String text) throws StorageException {
        boolean given = text != null && !text.isBlank();
        if (file != null && given) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    "both holdfast.storage.key-file and holdfast.storage.key are set",
                    "set one of them");
        }
        if (file != null) {
            return ofFile(file, "holdfast.storage.key-file");
        }
        return given ? WrapKey.parse(text, "holdfast.storage.key") : null;
    }

    /** The key of a file. */
    public static WrapKey ofFile(Path file, String setting) throws StorageException {
        String where = setting + " (" + file + ")";
        try {
            if (Files.size(file) > MAX) {
                throw new StorageException(
                        ErrorCode.WRONG_KEY, where + " is too large for a key", "openssl rand -hex 32 > " + file);
            }
            if (Files.getPosixFilePermissions(file).contains(PosixFilePermission.OTHERS_READ)) {
                LOG.warnf("event=key-readable-by-all file=%s remedy=\"chmod 600 %s\"", file, file);
            }
            return WrapKey.parse(Files.readString(file, StandardCharsets.ISO_8859_1), where);
        } catch (IOException e) {
            throw new StorageException(
                    ErrorCode.WRONG_KEY,
                    where + " cannot be read: " + e.getClass().getSimpleName(),
                    "let the service's user read the file",
                    e);
        }
    }
}
