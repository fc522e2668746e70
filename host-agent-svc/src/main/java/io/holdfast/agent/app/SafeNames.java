package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.spec.Names;

/** Names from outside become paths and command words: only plain ones are let in. */
final class SafeNames {
    private SafeNames() {}

    private static void check(String what, String name) throws AgentException {
        if (!Names.isName(name)) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT,
                    what + " name is not plain: " + Names.quote(name),
                    "use lower-case letters, digits and hyphens, at most 40");
        }
    }

    /** Checks every name that a command carries. */
    static void check(Command.ForAgent command, String host) throws AgentException {
        check("instance", command.header().instance());
        switch (command) {
            case Command.Deploy c -> check(c.layout(), c.header(), host);
            case Command.Prepare c -> check("checkpoint", c.checkpoint());
            case Command.Cut c -> check("checkpoint", c.checkpoint());
            case Command.Abort c -> check("checkpoint", c.checkpoint());
            case Command.Load c -> {
                check("checkpoint", c.checkpoint());
                check(c.layout(), c.header(), host);
            }
            case Command.Resume c -> check("checkpoint", c.checkpoint());
            case Command.Destroy c -> {}
        }
    }

    private static void check(InstanceLayout layout, Command.Header header, String host) throws AgentException {
        if (layout == null || layout.spec() == null || !header.instance().equals(layout.instance())) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT, "layout is missing or of another instance", "see docs/protocol.md");
        }
        for (InstanceLayout.HostPart part : layout.hosts()) {
            check("host", part.host());
            for (String vm : part.vms()) {
                check("VM", vm);
                if (layout.spec().vms().stream().noneMatch(v -> v.name().equals(vm))) {
                    throw new AgentException(
                            ErrorCode.INVALID_EVENT, "layout places an unknown VM " + vm, "see docs/protocol.md");
                }
            }
        }
        for (var segment : layout.spec().segments()) {
            check("segment", segment.name());
        }
        if (layout.hosts().stream().noneMatch(h -> h.host().equals(host))) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT, "layout has no part for host " + host, "see docs/protocol.md");
        }
    }
}
