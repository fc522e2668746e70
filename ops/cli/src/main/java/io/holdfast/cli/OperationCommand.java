package io.holdfast.cli;

import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.view.OperationView;
import java.io.IOException;
import java.io.PrintStream;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.ParentCommand;

/** A command that requests an operation, waits for its end unless told not to, and prints what came of it. */
abstract class OperationCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Mixin
    private Commands.Waiting waiting;

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec;

    /** What is asked for; throws {@link #misused} when the options do not say. */
    abstract Request request() throws IOException;

    /** Prints the end of a completed operation for people to read. */
    abstract void print(OperationView end, PrintStream out);

    /** The exit code of a completed operation. */
    int exitCode(OperationView end) {
        return 0;
    }

    @Override
    public Integer call() throws IOException {
        OperationView end = waiting.run(main, request());
        if (end == null) {
            return 0;
        }
        if (!main.json()) {
            print(end, main.out());
        }
        return exitCode(end);
    }

    final Main main() {
        return main;
    }

    final CommandLine.ParameterException misused(String message) {
        return new CommandLine.ParameterException(spec.commandLine(), message);
    }

    /** The result that a maintenance operation completed with. */
    static <T> T result(OperationView end, Class<T> type) {
        return Api.json().convertValue(end.completed().path("result"), type);
    }
}
