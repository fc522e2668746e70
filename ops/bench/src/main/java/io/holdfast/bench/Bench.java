package io.holdfast.bench;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;

/** {@code ./holdfast bench NAME [--OPTION VALUE]...}: the benches, each a class of its own. */
public final class Bench {
    /** A bench. */
    @FunctionalInterface
    private interface Runner {
        void run(PrintStream out, Options options);
    }

    private static final Map<String, Runner> BENCHES =
            new TreeMap<>(Map.of("first", FirstBench::run, "cut", CutBench::run, "repository", RepositoryBench::run));

    private Bench() {}

    /** Ends the JVM with 0, or 2 on wrong usage. */
    public static void main(String[] args) {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Runner bench = args.length == 0 ? null : BENCHES.get(args[0]);
        if (bench == null) {
            out.println("usage: bench NAME [--OPTION VALUE]...; NAME is one of " + String.join(", ", BENCHES.keySet()));
            System.exit(2);
            return;
        }
        try {
            Options options = Options.parse(args);
            bench.run(out, options);
        } catch (Options.Usage e) {
            out.println(e.getMessage());
            System.exit(2);
        }
        System.exit(0);
    }
}
