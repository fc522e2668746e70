package io.holdfast.storage.adapter.cli;

import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.NoSuchFileException;
import java.util.Arrays;
import java.util.List;

/**
 * The storage service's command line, for what needs the bucket and its key and no broker. Settings are the service's own:
 * {@code -Dholdfast.storage.endpoint=} or {@code HOLDFAST_STORAGE_ENDPOINT}, {@code .bucket}, {@code .prefix}, {@code .region},
 * {@code .access-key}, {@code .secret-key}, {@code .key-file}, {@code .key}. Exit status 0 done, 1 failed, 2 wrong use, 5 no such thing.
 */
public final class StorageTool {
    private static final String USAGE = """
            usage: storage COMMAND

              inspect [--chunks] FILE|s3:KEY   what an object of the repository holds, in JSON
              fetch CHECKPOINT FOLDER          a checkpoint's images into FOLDER/CHECKPOINT; see also holdfast export
              store FOLDER/CHECKPOINT          takes images into the repository; see holdfast import
              keys new                         print a new random key
              keys list                        which keys open the repository
              keys add FILE                    let the key in FILE open it too; the configured key must open it now
              keys remove ID                   a key opens it no more; not the configured one
            """;

    private StorageTool() {}

    public static void main(String[] args) {
        System.setProperty("java.util.logging.manager", "org.jboss.logmanager.LogManager");
        System.exit(run(args, System.out, System.err));
    }

    /** Runs a command and returns the exit status. */
    public static int run(String[] args, PrintStream out, PrintStream err) {
        String command = args.length == 0 ? "" : args[0];
        List<String> rest = args.length == 0 ? List.of() : List.of(Arrays.copyOfRange(args, 1, args.length));
        try {
            return switch (command) {
                case "inspect" -> Inspect.run(rest, out);
                case "fetch" -> FetchCommand.run(rest, out);
                case "store" -> StoreCommand.run(rest, out);
                case "keys" -> KeysCommand.run(rest, out);
                case "help", "--help" -> {
                    out.print(USAGE);
                    yield 0;
                }
                default -> throw new UsageException();
            };
        } catch (UsageException e) {
            err.print(USAGE);
            return 2;
        } catch (StorageException e) {
            err.println(command + ": " + e.code() + " " + e.getMessage() + " (" + e.remedy() + ")");
        } catch (NoSuchFileException e) {
            err.println(command + ": no such file or object: " + e.getFile());
            return 5;
        } catch (IOException e) {
            err.println(command + ": " + e);
        }
        return 1;
    }
}
