package io.holdfast.e2e;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a guest has printed. After a restart the log begins anew, maybe in the middle of a line; only whole lines count.
 *
 * @param ring progress of the ring
 * @param received progress of the datagrams
 * @param bulk progress of the bulk streams
 * @param clock longest gaps in microseconds, one for each line of {@code clock}
 * @param drops what the guest lost by its own doing, the last that it told; empty if it told nothing
 * @param faults lines that must not be there
 */
public record Console(
        List<Ring> ring,
        List<Received> received,
        List<Bulk> bulk,
        List<Long> clock,
        List<String> drops,
        List<String> faults) {
    private static final Pattern RING = Pattern.compile("RING count=(\\d+) hash=([0-9a-f]{16}) ok");
    private static final Pattern RX = Pattern.compile(
            "RX last=(\\d+) got=(\\d+) lost=(\\d+) old=\\d+ repeated=(\\d+) reordered=(\\d+) port=(\\d+)");
    private static final Pattern BULK = Pattern.compile("BULK got=(\\d+) ok port=(\\d+) large=(\\d+)");
    private static final Pattern DROPS = Pattern.compile("DROPS .*");
    private static final Pattern CLOCK = Pattern.compile("CLOCK max_us=(\\d+) .*");
    private static final Pattern FAULT = Pattern.compile(
            "(RING BROKEN|MEMORY BROKEN|BULK BROKEN|GAP |REPEATED |REORDERED |WRONG |COOKIE SEEN|HF-EXIT|HF-NIC failed|HF-MODULE failed|USAGE|Kernel panic|.*BUG:).*");

    /** A line of {@code ring}. */
    public record Ring(long count, String hash) {}

    /**
     * A line of {@code bulk recv}.
     *
     * @param got bytes that came and were right
     * @param large frames larger than an ordinary one that came to the VM
     */
    public record Bulk(long got, int port, long large) {}

    /** A line of {@code udpseq recv} or {@code ether recv}. */
    public record Received(long last, long got, long lost, long repeated, long reordered, int port) {
        /** Whether nothing is missing, repeated or out of order. */
        public boolean clean() {
            return lost == 0 && repeated == 0 && reordered == 0;
        }
    }

    /** Reads a console log; one that does not exist yet is empty. */
    public static Console read(Path log) {
        return parse(text(log));
    }

    /** Whether a guest has printed that; a log that does not exist yet is empty. */
    public static boolean printed(Path log, String words) {
        return text(log).contains(words);
    }

    private static String text(Path log) {
        try {
            return Files.readString(log, StandardCharsets.ISO_8859_1);
        } catch (NoSuchFileException e) {
            return "";
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    static Console parse(String text) {
        Console c = new Console(
                new ArrayList<>(),
                new ArrayList<>(),
                new ArrayList<>(),
                new ArrayList<>(),
                new ArrayList<>(),
                new ArrayList<>());
        int end = text.lastIndexOf('\n');
        for (String raw : text.substring(0, Math.max(end, 0)).split("\n", -1)) {
            String line = raw.strip();
            Matcher ring = RING.matcher(line);
            Matcher rx = RX.matcher(line);
            Matcher bulk = BULK.matcher(line);
            Matcher clock = CLOCK.matcher(line);
            if (ring.matches()) {
                c.ring.add(new Ring(Long.parseLong(ring.group(1)), ring.group(2)));
            } else if (rx.matches()) {
                c.received.add(new Received(
                        Long.parseLong(rx.group(1)),
                        Long.parseLong(rx.group(2)),
                        Long.parseLong(rx.group(3)),
                        Long.parseLong(rx.group(4)),
                        Long.parseLong(rx.group(5)),
                        Integer.parseInt(rx.group(6))));
            } else if (bulk.matches()) {
                c.bulk.add(new Bulk(
                        Long.parseLong(bulk.group(1)), Integer.parseInt(bulk.group(2)), Long.parseLong(bulk.group(3))));
            } else if (DROPS.matcher(line).matches()) {
                c.drops.clear();
                c.drops.add(line);
            } else if (clock.matches()) {
                c.clock.add(Long.parseLong(clock.group(1)));
            } else if (FAULT.matcher(line).matches()) {
                c.faults.add(line);
            }
        }
        return c;
    }

    public Optional<Ring> firstRing() {
        return ring.stream().findFirst();
    }

    public Optional<Ring> lastRing() {
        return ring.isEmpty() ? Optional.empty() : Optional.of(ring.get(ring.size() - 1));
    }

    public Optional<Received> lastReceived() {
        return received.isEmpty() ? Optional.empty() : Optional.of(received.get(received.size() - 1));
    }

    /** The first line of each stream of datagrams, by port. */
    public Map<Integer, Received> firstByPort() {
        Map<Integer, Received> first = new TreeMap<>();
        received.forEach(r -> first.putIfAbsent(r.port(), r));
        return first;
    }

    /** The last line of each stream of datagrams, by port. */
    public Map<Integer, Received> lastByPort() {
        Map<Integer, Received> last = new TreeMap<>();
        received.forEach(r -> last.put(r.port(), r));
        return last;
    }

    /** Bytes of each bulk stream in its first line, by port. */
    public Map<Integer, Long> firstBulk() {
        Map<Integer, Long> first = new TreeMap<>();
        bulk.forEach(b -> first.putIfAbsent(b.port(), b.got()));
        return first;
    }

    /** Bytes of each bulk stream in its last line, by port. */
    public Map<Integer, Long> lastBulk() {
        Map<Integer, Long> last = new TreeMap<>();
        bulk.forEach(b -> last.put(b.port(), b.got()));
        return last;
    }
}
