package io.holdfast.agent.net;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Runs iproute2's programs in batch mode: commands go in on stdin, one per line, never through a shell. The words in them must have
 * been checked before ({@link Names}).
 */
final class Iproute {
    private static final int LIMIT_SECONDS = 20;

    private Iproute() {}

    /** ip, bridge or tc in a namespace (null: this process's own). */
    static String run(String program, String netns, List<String> lines) throws IOException {
        if (lines.isEmpty()) {
            return "";
        }
        var words = new ArrayList<String>();
        words.add(program);
        if (netns != null) {
            words.add("-n");
            words.add(netns);
        }
        words.add("-batch");
        words.add("-");
        return run(words, String.join("\n", lines) + "\n");
    }

    /** A single command. */
    static String run(List<String> words, String input) throws IOException {
        var builder = new ProcessBuilder(words);
        builder.environment().put("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        builder.environment().put("LC_ALL", "C");
        builder.redirectErrorStream(true);
        var process = builder.start();
        try {
            try (var in = process.getOutputStream()) {
                in.write(input.getBytes(StandardCharsets.US_ASCII));
            }
            String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                throw new IOException(String.join(" ", words) + " does not end");
            }
            if (process.exitValue() != 0) {
                throw new IOException(String.join(" ", words) + " failed: " + text.strip());
            }
            return text;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        } finally {
            process.destroyForcibly();
        }
    }
}
