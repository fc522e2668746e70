package io.holdfast.bench;

import io.holdfast.cli.Api;
import io.holdfast.cli.Text;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What a bench leaves: a JSON file with every sample. */
final class Results {
    private Results() {}

    /** One decimal, or a dash when nothing was measured. */
    static String number(double v) {
        return Double.isNaN(v) ? "-" : "%.1f".formatted(v);
    }

    /**
     * Writes the file and says where it is.
     *
     * @param facts what the figures hold for, such as the number of runs
     * @param limits what a reader must know beside the figures
     */
    static void write(
            PrintStream out,
            Path json,
            String bench,
            Map<String, ?> facts,
            List<String> limits,
            Map<String, Samples> cases) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("bench", bench);
        all.put("at", Text.time(Instant.now()));
        all.put("processors", Runtime.getRuntime().availableProcessors());
        all.putAll(new TreeMap<>(facts));
        all.put("limits", limits);
        Map<String, Object> figures = new LinkedHashMap<>();
        cases.forEach((name, samples) -> figures.put(name, samples.json()));
        all.put("cases", figures);
        try {
            Files.writeString(
                    json, Api.json().writerWithDefaultPrettyPrinter().writeValueAsString(all) + System.lineSeparator());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        out.println("JSON: " + json.toAbsolutePath());
    }
}
