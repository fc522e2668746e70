package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.schemas.event.Command;

/** A kind of command being done. On failure everything done of it is undone before the exception comes. */
@FunctionalInterface
interface Work<C extends Command.ForAgent> {
    void run(C command, Reporter reporter, CancelToken token) throws AgentException;
}
