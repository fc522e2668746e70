package io.holdfast.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How long a JVM stood, by its own log ({@code -Xlog:safepoint:file=...:utctime}): collections of garbage and all else for which every thread
 * is stopped. The log's time is that of a safepoint's end, to the millisecond.
 */
final class Safepoints {
    private static final Pattern LINE =
            Pattern.compile("\\[([-0-9T:.]+[+-]\\d{4})].*Safepoint \"(\\w+)\".*Total: +(\\d+) ns");
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSxx");

    /**
     * A time in which the JVM stood.
     *
     * @param endMicros microseconds since the epoch, within a millisecond
     */
    record Pause(String why, long endMicros, long nanos) {
        /** Whether any of it was between two times, microseconds since the epoch. */
        boolean overlaps(long from, long to) {
            return endMicros + 1000 >= from && endMicros - nanos / 1000 <= to;
        }
    }

    private Safepoints() {}

    /** All that a log tells. */
    static List<Pause> read(Path log) {
        try (var lines = Files.lines(log, StandardCharsets.UTF_8)) {
            return lines.map(LINE::matcher)
                    .filter(Matcher::find)
                    .map(m -> new Pause(m.group(2), micros(m.group(1)), Long.parseLong(m.group(3))))
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static long micros(String time) {
        return OffsetDateTime.parse(time, TIME).toInstant().toEpochMilli() * 1000;
    }
}
