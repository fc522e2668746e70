package io.holdfast.devstack;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;

/** Starts child processes whose output goes to a log file, and waits for what they show. Thread-safe: it holds no state. */
public final class ProcessKit {
    /** How often an observed state is looked at again. */
    private static final Duration LOOK = Duration.ofMillis(20);

    private static final int TAIL_LINES = 30;

    private ProcessKit() {}

    /** The {@code java} of the running JVM, with the flags that each of our processes gets. */
    public static List<String> java(String... flags) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.add("--enable-native-access=ALL-UNNAMED");
        command.add("-XX:+UseSerialGC");
        if (Runtime.version().feature() >= 24) {
            command.add("--sun-misc-unsafe-memory-access=allow");
        }
        command.addAll(List.of(flags));
        return command;
    }

    /**
     * Starts a process in a session of its own, with no standard input and its output appended to a log.
     *
     * @param command program and arguments
     * @param environment added to this process's own
     * @param log created when missing; its folder too
     * @throws UncheckedIOException when it cannot be started
     */
    public static Running start(List<String> command, Map<String, String> environment, Path log) {
        List<String> all = new ArrayList<>();
        all.add("setsid");
        all.addAll(command);
        try {
            Files.createDirectories(log.toAbsolutePath().getParent());
            ProcessBuilder builder = new ProcessBuilder(all)
                    .redirectErrorStream(true)
                    .redirectInput(
                            ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                    .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
            builder.environment().putAll(environment);
            long offset = Files.exists(log) ? Files.size(log) : 0;
            return running(builder.start(), log, offset);
        } catch (IOException e) {
            throw new UncheckedIOException(String.join(" ", command), e);
        }
    }

    /** A process that may have ended before anybody looked is one that ended: whoever waits for it is told what it said. */
    static Running running(Process process, Path log, long logOffset) {
        ProcessIds ids = ProcessIds.of(process.pid()).orElseGet(() -> ProcessIds.ended(process.pid()));
        return new Running(ids, log, logOffset);
    }

    /** A started process. */
    public record Running(ProcessIds ids, Path log, long logOffset) implements AutoCloseable {
        /**
         * Waits until a line of the log (of this start) begins with a text.
         *
         * @throws IllegalStateException with the log's tail when the process ends first or the time is over
         */
        public void awaitLine(String beginning, Duration limit) {
            await(
                    () -> linesSinceStart().stream().anyMatch(l -> l.startsWith(beginning)),
                    "the line " + beginning,
                    limit);
        }

        /**
         * Waits for a condition while the process lives.
         *
         * @throws IllegalStateException with the log's tail when the process ends first or the time is over
         */
        public void await(BooleanSupplier condition, String what, Duration limit) {
            await(condition, what, limit, LOOK);
        }

        /** The same, looking that often. */
        void await(BooleanSupplier condition, String what, Duration limit, Duration look) {
            long end = System.nanoTime() + limit.toNanos();
            while (!condition.getAsBoolean()) {
                if (!ids.isAlive()) {
                    throw new IllegalStateException("process " + ids.pid() + " ended before " + what + tailOf(log));
                }
                if (System.nanoTime() > end) {
                    throw new IllegalStateException(
                            "no sign of " + what + " within " + limit.toSeconds() + " s" + tailOf(log));
                }
                pause(look);
            }
        }

        /** Asks the process to end (SIGTERM), kills it when it has not within the limit, and waits for its end. */
        public void stop(Duration limit) {
            end(ids, limit);
        }

        /** Ends it within 10 s. */
        @Override
        public void close() {
            stop(Duration.ofSeconds(10));
        }

        private List<String> linesSinceStart() {
            try {
                byte[] all = Files.readAllBytes(log);
                return new String(all, (int) logOffset, all.length - (int) logOffset, StandardCharsets.UTF_8)
                        .lines()
                        .toList();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** SIGTERM, then SIGKILL when the process still runs after the limit; returns when it is gone. */
    public static void end(ProcessIds ids, Duration limit) {
        ids.signal("TERM");
        long end = System.nanoTime() + limit.toNanos();
        while (ids.isAlive() && System.nanoTime() < end) {
            pause(LOOK);
        }
        kill(ids);
    }

    /** SIGKILL; returns when the process is gone. */
    public static void kill(ProcessIds ids) {
        ids.signal("KILL");
        while (ids.isAlive()) {
            pause(LOOK);
        }
    }

    /** A TCP port of the loopback address that is free now. */
    public static int freePort() {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The last lines of a log without stack frames, ready to end an error message. */
    static String tailOf(Path log) {
        try {
            List<String> lines = Files.readString(log, StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("\tat ") && !line.startsWith("\t...") && !line.isBlank())
                    .toList();
            return "; last lines of " + log + ":\n  "
                    + String.join("\n  ", lines.subList(Math.max(0, lines.size() - TAIL_LINES), lines.size()));
        } catch (IOException e) {
            return "; its log " + log + " cannot be read";
        }
    }

    private static void pause(Duration look) {
        try {
            Thread.sleep(look);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }
}
