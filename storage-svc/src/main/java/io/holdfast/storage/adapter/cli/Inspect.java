package io.holdfast.storage.adapter.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.domain.Inspector;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code inspect [--chunks] FILE|s3:KEY}: tells in JSON what an object of a repository holds. A key is read from the
 * bucket of the system properties {@code holdfast.storage.endpoint}, {@code .bucket}, {@code .region}, {@code .access-key},
 * {@code .secret-key}. Exit status 0 sound, 1 broken or unreadable, 2 wrong use.
 */
public final class Inspect {
    private Inspect() {}

    public static void main(String[] args) {
        System.setProperty("java.util.logging.manager", "org.jboss.logmanager.LogManager");
        System.exit(run(args, System.out, System.err));
    }

    static int run(String[] args, PrintStream out, PrintStream err) {
        List<String> words = new ArrayList<>(List.of(args));
        boolean chunks = words.remove("--chunks");
        if (words.size() != 1 || words.get(0).startsWith("-")) {
            err.println("usage: inspect [--chunks] FILE|s3:KEY");
            return 2;
        }
        String name = words.get(0);
        try {
            byte[] data = name.startsWith("s3:") ? fetch(name.substring(3)) : read(Path.of(name));
            out.println(EventCodec.json()
                    .writerWithDefaultPrettyPrinter()
                    .writeValueAsString(
                            Inspector.inspect(name.startsWith("s3:") ? name.substring(3) : name, data, chunks)));
            return 0;
        } catch (StorageException e) {
            err.println("inspect: " + e.code() + " " + e.getMessage() + " (" + e.remedy() + ")");
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        } catch (IOException e) {
            err.println("inspect: " + e);
        }
        return 1;
    }

    private static byte[] read(Path file) throws IOException {
        if (Files.size(file) > Limits.MAX_INDEX) {
            throw new IOException(file + " is larger than any object of a repository");
        }
        return Files.readAllBytes(file);
    }

    private static byte[] fetch(String key) throws StorageException {
        try (S3ObjectStore store = new S3ObjectStore(new S3ObjectStore.Access(
                System.getProperty("holdfast.storage.endpoint", "http://localhost:9000"),
                System.getProperty("holdfast.storage.region", "us-east-1"),
                System.getProperty("holdfast.storage.access-key", ""),
                System.getProperty("holdfast.storage.secret-key", ""),
                System.getProperty("holdfast.storage.bucket", "holdfast"),
                Duration.ofSeconds(5)))) {
            return store.get(key, Limits.MAX_INDEX);
        }
    }
}
