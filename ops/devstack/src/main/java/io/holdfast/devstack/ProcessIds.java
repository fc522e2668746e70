package io.holdfast.devstack;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * A process's identity: its pid and when it started. A pid alone may belong to another process by the time it is
 * signalled.
 *
 * @param pid the process id
 * @param startTicks field 22 of {@code /proc/PID/stat}: start time in clock ticks since boot
 */
public record ProcessIds(long pid, long startTicks) {
    /** The identity of a running process; empty when there is none with this pid (or it is a zombie). */
    public static Optional<ProcessIds> of(long pid) {
        try {
            String stat = Files.readString(Path.of("/proc/" + pid + "/stat"), StandardCharsets.ISO_8859_1);
            // The command, in parentheses, may hold anything: fields are counted after its end.
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
            return fields[0].equals("Z") || fields[0].equals("X")
                    ? Optional.empty()
                    : Optional.of(new ProcessIds(pid, Long.parseLong(fields[19])));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /** The identity of a process that ended before its start time could be read: never alive, whoever has the pid by now. */
    static ProcessIds ended(long pid) {
        return new ProcessIds(pid, -1);
    }

    /** Whether exactly this process still runs. */
    public boolean isAlive() {
        return of(pid).equals(Optional.of(this));
    }

    /** Sends a signal ({@code TERM}, {@code KILL}, {@code STOP}, ...) to exactly this process; no effect when it is gone. */
    public void signal(String name) {
        if (!isAlive()) {
            return;
        }
        try {
            // Waits for kill itself, which does not block.
            new ProcessBuilder("kill", "-" + name, Long.toString(pid))
                    .redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .start()
                    .waitFor();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The form kept in files: {@code PID TICKS}. */
    public String text() {
        return pid + " " + startTicks;
    }

    /** Reads {@link #text()}. */
    public static ProcessIds parse(String text) {
        String[] words = text.strip().split(" ", -1);
        return new ProcessIds(Long.parseLong(words[0]), Long.parseLong(words[1]));
    }
}
