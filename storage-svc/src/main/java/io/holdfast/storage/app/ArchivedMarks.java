package io.holdfast.storage.app;

import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Names;
import io.holdfast.storage.domain.StorageException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jboss.logging.Logger;

/**
 * Leaves the file {@code archived} in an image folder once the checkpoint's manifest is in the bucket: from then on, and
 * not before, the agent may remove the local image. The commit command goes to one host only, so every service looks for
 * the manifest of what it archived. What is still to be marked is kept in {@code STATE/unmarked/}.
 */
public final class ArchivedMarks {
    private static final Logger LOG = Logger.getLogger(ArchivedMarks.class);
    private static final int MAX_SKIP = 30;
    private final Repository repository;
    private final Keys keys;
    private final Path images;
    private final Path pending;
    private final Map<String, int[]> skips = new HashMap<>();

    public ArchivedMarks(Repository repository, Keys keys, Settings settings) throws IOException {
        this.repository = repository;
        this.keys = keys;
        this.images = settings.images();
        this.pending = settings.state().resolve("unmarked");
        Files.createDirectories(pending);
    }

    /** Notes that images are archived. */
    public synchronized void archived(String checkpoint, List<String> vms) throws IOException {
        Folders.writeDurably(pending.resolve(checkpoint), String.join("\n", vms).getBytes(StandardCharsets.UTF_8));
    }

    /** A commit was done by this service: look at once. */
    public synchronized void committed(String checkpoint) {
        skips.remove(checkpoint);
    }

    /** Marks what can be marked. Called each second; a checkpoint that is not there is asked for ever more seldom. */
    public synchronized void tick() throws IOException {
        List<Path> files;
        try (var dir = Files.list(pending)) {
            files = dir.filter(p -> Names.valid(p.getFileName().toString())).toList();
        }
        for (Path p : files) {
            String checkpoint = p.getFileName().toString();
            int[] skip = skips.computeIfAbsent(checkpoint, c -> new int[] {0, 0});
            if (skip[0] > 0) {
                skip[0]--;
                continue;
            }
            skip[1] = Math.min(MAX_SKIP, skip[1] + 1);
            skip[0] = skip[1] <= 10 ? 0 : skip[1];
            try {
                if (!Files.isDirectory(images.resolve(checkpoint), LinkOption.NOFOLLOW_LINKS)) {
                    forget(p, checkpoint);
                } else if (repository.exists(checkpoint)) {
                    for (String vm : Files.readAllLines(p)) {
                        mark(checkpoint, vm);
                    }
                    forget(p, checkpoint);
                }
            } catch (StorageException e) {
                LOG.debugf("event=mark-later checkpoint=%s reason=\"%s\"", checkpoint, e.getMessage());
            }
        }
    }

    private void forget(Path p, String checkpoint) throws IOException {
        skips.remove(checkpoint);
        Files.deleteIfExists(p);
    }

    private void mark(String checkpoint, String vm) throws IOException {
        Path folder = images.resolve(checkpoint).resolve(vm);
        if (Names.valid(vm) && Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
            Folders.writeDurably(
                    folder.resolve(Names.ARCHIVED),
                    (keys.checkpoint(checkpoint) + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }
}
