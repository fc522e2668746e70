package io.holdfast.agent.app;

import io.holdfast.schemas.event.Command;

/**
 * What every log line of an operation carries, as key=value.
 *
 * @param operation id of the operation, or {@code -}
 * @param instance the instance
 * @param host this host
 * @param phase phase of the command, or what the agent does of its own
 * @param attempt 1, 2, ..., 0 when not a command
 */
public record Op(String operation, String instance, String host, String phase, int attempt) {
    /** Of a command. */
    public static Op of(Command command) {
        Command.Header h = command.header();
        return new Op(h.operation(), h.instance(), h.host(), h.phase(), h.attempt());
    }

    /** Of something that the agent does by itself. */
    public static Op own(String instance, String host, String phase) {
        return new Op("-", instance, host, phase, 0);
    }

    @Override
    public String toString() {
        return "operation=" + operation + " instance=" + instance + " host=" + host + " phase=" + phase + " attempt="
                + attempt;
    }
}
