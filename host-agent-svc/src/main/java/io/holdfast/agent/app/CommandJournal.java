package io.holdfast.agent.app;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.Report;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jboss.logging.Logger;

/**
 * The commands that this host has taken, one file each: {@code commands/<sha256 of the id>.json}, written beside, synced
 * and renamed. A command is acknowledged to Kafka only once it is here. Thread-safe.
 *
 * <p>A file that cannot be read is set aside as {@code *.broken} and said so; it never stops the agent.
 */
public final class CommandJournal {
    /** Version of the files' format. */
    static final int VERSION = 1;

    private static final Logger LOG = Logger.getLogger(CommandJournal.class);
    private final Path folder;
    private final Map<String, Known> known = new HashMap<>();
    private final Map<String, Long> epochs = new HashMap<>();

    private record Known(boolean finished, Instant acceptedAt) {}

    /**
     * A file of the journal.
     *
     * @param version {@value VERSION}
     * @param id the command's id
     * @param type the CloudEvents type of the command
     * @param acceptedAt when it came
     * @param finished whether its last report is stored
     * @param traceparent W3C trace context, or null
     * @param command the command's data
     * @param reports every end report so far, in order
     */
    record Stored(
            int version,
            String id,
            String type,
            Instant acceptedAt,
            boolean finished,
            String traceparent,
            JsonNode command,
            List<StoredReport> reports) {}

    /** A report with its CloudEvents type. */
    record StoredReport(String type, JsonNode data) {}

    /**
     * A command with its stored reports.
     *
     * @param finished whether the last report is among them
     */
    public record Entry(
            Command.ForAgent command, Instant acceptedAt, boolean finished, String traceparent, List<Report> reports) {}

    /** Opens the journal and reads what is there. */
    public CommandJournal(Path folder) throws IOException {
        this.folder = folder;
        Files.createDirectories(folder);
        for (Path file : files()) {
            try {
                Stored s = EventCodec.json().readValue(Files.readAllBytes(file), Stored.class);
                if (s.version() != VERSION) {
                    throw new IOException("unknown version " + s.version());
                }
                Command.ForAgent c = command(s);
                known.put(s.id(), new Known(s.finished(), s.acceptedAt()));
                epochs.merge(c.header().instance(), c.header().epoch(), Math::max);
            } catch (IOException | RuntimeException e) {
                LOG.errorf(e, "event=journal-file-broken file=%s", file);
                Files.move(file, file.resolveSibling(file.getFileName() + ".broken"));
            }
        }
    }

    private List<Path> files() throws IOException {
        List<Path> files = new ArrayList<>();
        try (DirectoryStream<Path> dir = Files.newDirectoryStream(folder, "*.json")) {
            dir.forEach(files::add);
        }
        return files;
    }

    /** Highest epoch seen for an instance, 0 when none. */
    public synchronized long epoch(String instance) {
        return epochs.getOrDefault(instance, 0L);
    }

    /** Raises an instance's epoch to one known otherwise. */
    public synchronized void seenEpoch(String instance, long epoch) {
        epochs.merge(instance, epoch, Math::max);
    }

    /** What is known of a command. */
    public enum Status {
        NEW,
        RUNNING,
        FINISHED
    }

    /** What is known of that command id. */
    public synchronized Status status(String id) {
        Known k = known.get(id);
        return k == null ? Status.NEW : k.finished() ? Status.FINISHED : Status.RUNNING;
    }

    /** Takes a command that is not known yet; durable on return. */
    public synchronized void accept(Command.ForAgent command, Instant now, String traceparent) throws IOException {
        String id = command.header().id();
        if (known.containsKey(id)) {
            throw new IllegalStateException("already taken: " + id);
        }
        write(new Stored(
                VERSION,
                id,
                EventType.of(command).typeName(),
                now,
                false,
                traceparent,
                EventCodec.json().valueToTree(command),
                List.of()));
        known.put(id, new Known(false, now));
        epochs.merge(command.header().instance(), command.header().epoch(), Math::max);
    }

    /** Adds a report to a command; durable on return. */
    public synchronized void report(String id, Report report, boolean last) throws IOException {
        Stored s = EventCodec.json().readValue(Files.readAllBytes(file(id)), Stored.class);
        List<StoredReport> reports = new ArrayList<>(s.reports());
        reports.add(new StoredReport(
                EventType.of(report).typeName(), EventCodec.json().valueToTree(report)));
        write(new Stored(
                VERSION, id, s.type(), s.acceptedAt(), last, s.traceparent(), s.command(), List.copyOf(reports)));
        known.put(id, new Known(last, s.acceptedAt()));
    }

    /** A command as stored. */
    public synchronized Optional<Entry> find(String id) throws IOException {
        return known.containsKey(id) ? Optional.of(entry(file(id))) : Optional.empty();
    }

    /** Commands without a last report, oldest first. */
    public synchronized List<Entry> unfinished() throws IOException {
        List<Entry> entries = new ArrayList<>();
        for (Map.Entry<String, Known> e : known.entrySet()) {
            if (!e.getValue().finished()) {
                entries.add(entry(file(e.getKey())));
            }
        }
        entries.sort(Comparator.comparing(Entry::acceptedAt));
        return entries;
    }

    /** Forgets finished commands that were taken longer ago. Returns how many. */
    public synchronized int prune(Instant now, Duration retention) throws IOException {
        int removed = 0;
        for (Map.Entry<String, Known> e : List.copyOf(known.entrySet())) {
            if (e.getValue().finished() && e.getValue().acceptedAt().isBefore(now.minus(retention))) {
                Files.deleteIfExists(file(e.getKey()));
                known.remove(e.getKey());
                removed++;
            }
        }
        return removed;
    }

    private Entry entry(Path file) throws IOException {
        Stored s = EventCodec.json().readValue(Files.readAllBytes(file), Stored.class);
        List<Report> reports = new ArrayList<>();
        for (StoredReport r : s.reports()) {
            reports.add((Report) decode(r.type(), r.data()));
        }
        return new Entry(command(s), s.acceptedAt(), s.finished(), s.traceparent(), List.copyOf(reports));
    }

    private static Command.ForAgent command(Stored s) throws IOException {
        return (Command.ForAgent) decode(s.type(), s.command());
    }

    private static Object decode(String type, JsonNode data) throws IOException {
        EventType t = EventType.named(type).orElseThrow(() -> new IOException("unknown type " + type));
        return EventCodec.json().treeToValue(data, t.dataClass());
    }

    private void write(Stored s) throws IOException {
        Durable.write(file(s.id()), EventCodec.json().writeValueAsBytes(s));
    }

    private Path file(String id) {
        try {
            byte[] hash = MessageDigest.getInstance("SHA-256").digest(id.getBytes(StandardCharsets.UTF_8));
            return folder.resolve(HexFormat.of().formatHex(hash) + ".json");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
