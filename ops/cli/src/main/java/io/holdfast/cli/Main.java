package io.holdfast.cli;

import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** The command line of Holdfast: results on standard output, progress and errors on standard error. */
@Command(
        name = "holdfast",
        description = "Checkpoints running networks of virtual machines and restarts them elsewhere.",
        mixinStandardHelpOptions = true,
        version = "holdfast 0.1.0",
        subcommands = {
            Commands.Apply.class,
            Commands.ListInstances.class,
            Commands.Show.class,
            Commands.CheckpointCommand.class,
            Commands.Checkpoints.class,
            Commands.Restore.class,
            Commands.Destroy.class,
            RepositoryCommands.Verify.class,
            RepositoryCommands.Stats.class,
            RepositoryCommands.Forget.class,
            RepositoryCommands.Prune.class,
            RepositoryCommands.Hold.class,
            RepositoryCommands.Release.class,
            RepositoryCommands.Rebuild.class,
            Commands.Hosts.class,
            Commands.Operations.class,
            Commands.Operation.class,
            Commands.Watch.class,
            Console.class,
            Inspect.class
        },
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            " 0:it is done",
            " 1:the operation failed, or verify found damage",
            " 2:wrong usage",
            " 3:the request was rejected, nothing was changed",
            " 4:no coordinator answers",
            " 5:there is no such instance, checkpoint, operation or file to show or read",
            " 6:it did not end in the time given",
            "70:an error of Holdfast itself"
        },
        footer = {
            "",
            "The coordinator is --server URL, else HOLDFAST_SERVER, else that of the dev stack (./holdfast up).",
            "Example: holdfast apply net.yaml && holdfast checkpoint net && holdfast checkpoints"
        })
public final class Main implements Runnable {
    /** How results are written. */
    public enum Format {
        table,
        json
    }

    @Option(names = "--server", paramLabel = "URL", description = "The coordinator.", scope = ScopeType.INHERIT)
    private URI server;

    @Option(
            names = {"-o", "--output"},
            paramLabel = "FORMAT",
            description = "table (default) or json.",
            defaultValue = "table",
            scope = ScopeType.INHERIT)
    private Format output;

    @Option(
            names = {"-q", "--quiet"},
            description = "No progress on standard error.",
            scope = ScopeType.INHERIT)
    private boolean quiet;

    @Spec
    private CommandSpec spec;

    private final PrintStream out;
    private final PrintStream err;
    private Api api;

    private Main(PrintStream out, PrintStream err) {
        this.out = out;
        this.err = err;
    }

    /** Ends the JVM with the command's exit code. */
    public static void main(String[] args) {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        PrintStream err = new PrintStream(System.err, true, StandardCharsets.UTF_8);
        System.exit(run(out, err, args));
    }

    /** Runs one command and returns its exit code. */
    static int run(PrintStream out, PrintStream err, String... args) {
        Main main = new Main(out, err);
        CommandLine line = new CommandLine(main)
                .setOut(new java.io.PrintWriter(out, true, StandardCharsets.UTF_8))
                .setErr(new java.io.PrintWriter(err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setParameterExceptionHandler((e, words) -> main.misused(e))
                .setExecutionExceptionHandler((e, at, parsed) -> main.report(e));
        return line.execute(args);
    }

    @Override
    public void run() {
        spec.commandLine().usage(err);
        throw new CommandLine.ParameterException(spec.commandLine(), "say what to do");
    }

    /** What was wrong and where the help is; the help itself would push it off the screen. */
    private int misused(CommandLine.ParameterException e) {
        err.println("holdfast: " + e.getMessage());
        CommandLine.UnmatchedArgumentException.printSuggestions(
                e, new java.io.PrintWriter(err, true, StandardCharsets.UTF_8));
        err.println("  -> " + e.getCommandLine().getCommandSpec().qualifiedName() + " --help");
        return CommandLine.ExitCode.USAGE;
    }

    private int report(Exception e) {
        return switch (e) {
            case ApiException a -> {
                err.println("holdfast: " + a.getMessage());
                yield a.kind().exitCode();
            }
            case NoSuchFileException f -> {
                err.println("holdfast: no such file: " + f.getFile());
                yield ApiException.Kind.NOT_FOUND.exitCode();
            }
            case java.io.IOException i -> {
                err.println("holdfast: " + i);
                yield ApiException.Kind.FAILED.exitCode();
            }
            default -> {
                err.println("holdfast: an error of holdfast itself; please report it");
                e.printStackTrace(err);
                yield ApiException.Kind.INTERNAL.exitCode();
            }
        };
    }

    Api api() {
        if (api == null) {
            api = new Api(server != null ? server : DevStackFiles.server());
        }
        return api;
    }

    boolean json() {
        return output == Format.json;
    }

    PrintStream out() {
        return out;
    }

    PrintStream err() {
        return err;
    }

    /** Where progress goes, null when it is not wanted. */
    PrintStream progress() {
        return quiet ? null : err;
    }

    /** Writes a value as JSON. */
    void writeJson(Object value) {
        try {
            out.println(Api.json().writerWithDefaultPrettyPrinter().writeValueAsString(value));
        } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
