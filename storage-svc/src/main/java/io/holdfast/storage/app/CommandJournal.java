package io.holdfast.storage.app;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.domain.ChunkId;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jboss.logging.Logger;

/**
 * The commands that this service has taken, a file each in {@code STATE/commands/}, named by the SHA-256 of the command's
 * id, durable before the command's Kafka record is acknowledged. Thread-safe for different commands.
 */
public final class CommandJournal {
    private static final Logger LOG = Logger.getLogger(CommandJournal.class);
    private final Path folder;

    /**
     * A command taken.
     *
     * @param end the report it ended with, or null while it is at work
     */
    public record Entry(Command.ForStorage command, Report end) {}

    private record Stored(String type, JsonNode command, String endType, JsonNode end) {}

    public CommandJournal(Path state) throws IOException {
        this.folder = state.resolve("commands");
        Files.createDirectories(folder);
    }

    private Path file(String id) {
        return folder.resolve(ChunkId.of(id.getBytes(StandardCharsets.UTF_8)).hex() + ".json");
    }

    /** What is known of a command. */
    public Optional<Entry> find(String id) throws IOException {
        Path p = file(id);
        return Files.exists(p) ? Optional.ofNullable(read(p)) : Optional.empty();
    }

    private static Entry read(Path p) throws IOException {
        try {
            Stored s = EventCodec.json().readValue(Files.readAllBytes(p), Stored.class);
            Object command = EventCodec.json()
                    .treeToValue(
                            s.command(), EventType.named(s.type()).orElseThrow().dataClass());
            Object end = s.endType() == null
                    ? null
                    : EventCodec.json()
                            .treeToValue(
                                    s.end(),
                                    EventType.named(s.endType()).orElseThrow().dataClass());
            if (command instanceof Command.ForStorage c) {
                return new Entry(c, (Report) end);
            }
        } catch (com.fasterxml.jackson.core.JsonProcessingException | RuntimeException e) {
            LOG.errorf(e, "event=journal-entry-unreadable file=%s", p);
        }
        return null;
    }

    /** Notes a command, or its end. Durable when it returns. */
    public void write(Entry e) throws IOException {
        Stored s = new Stored(
                EventType.of(e.command()).typeName(),
                EventCodec.json().valueToTree(e.command()),
                e.end() == null ? null : EventType.of(e.end()).typeName(),
                e.end() == null ? null : EventCodec.json().valueToTree(e.end()));
        Folders.writeDurably(file(e.command().header().id()), EventCodec.json().writeValueAsBytes(s));
    }

    /** Commands without an end; drops ended ones that are older than a time. */
    public List<Command.ForStorage> unfinished(Duration keep) throws IOException {
        List<Command.ForStorage> list = new ArrayList<>();
        try (var dir = Files.list(folder)) {
            for (Path p :
                    dir.filter(f -> f.toString().endsWith(".json")).sorted().toList()) {
                Entry e = read(p);
                if (e == null) {
                    continue;
                }
                if (e.end() == null) {
                    list.add(e.command());
                } else if (Files.getLastModifiedTime(p)
                        .toInstant()
                        .isBefore(Instant.now().minus(keep))) {
                    Files.delete(p);
                }
            }
        }
        return list;
    }
}
