package io.holdfast.coordinator.domain;

import io.holdfast.coordinator.domain.Instance.Machine;
import io.holdfast.coordinator.domain.OperationState.Completed;
import io.holdfast.coordinator.domain.OperationState.Ended;
import io.holdfast.coordinator.domain.OperationState.Failed;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.view.HostView;
import io.holdfast.schemas.view.InstanceView;
import io.holdfast.schemas.view.InstanceView.VmView;
import io.holdfast.schemas.view.OperationView;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** What the state looks like from outside. Pure. */
public final class Views {
    private Views() {}

    /** A host, alive if heard of within that time. */
    public static HostView host(HostInfo h, Instant now, Duration alive) {
        boolean agent = h.agentAlive(now, alive);
        boolean storage = h.storageAlive(now, alive);
        return new HostView(
                h.host(),
                agent && storage ? "alive" : agent || storage ? "partly" : "gone",
                agent,
                storage,
                h.agentSeen(),
                h.storageSeen(),
                h.agent(),
                h.storage());
    }

    /** An instance; VMs of hosts that are not heard of are unknown. */
    public static InstanceView instance(State s, Instance i, Instant now, Duration alive) {
        var vms = new ArrayList<VmView>();
        int up = 0;
        for (var part : i.layout().hosts()) {
            HostInfo h = s.hosts().get(part.host());
            boolean there = h != null && h.agentAlive(now, alive);
            for (String vm : part.vms()) {
                Machine m = i.machines().get(vm);
                VmState live = !there
                        ? null
                        : h.agent().instances().stream()
                                .filter(x -> x.instance().equals(i.name()))
                                .flatMap(x -> x.vms().stream())
                                .filter(x -> x.vm().equals(vm))
                                .findFirst()
                                .orElse(null);
                VmView view = view(vm, part.host(), m, live, there);
                if (!view.state().equals("dead") && !view.state().equals("unknown")) {
                    up++;
                }
                vms.add(view);
            }
        }
        Operation op = i.operation() == null ? null : s.operations().get(i.operation());
        String state;
        if (op != null && op.kind() == OperationKind.destroy) {
            state = "destroying";
        } else if (i.runningSince() == null) {
            state = "deploying";
        } else {
            state = up == vms.size() ? "running" : up > 0 ? "degraded" : "lost";
        }
        return new InstanceView(
                i.name(), i.layout().spec().name(), state, i.hosts(), vms, i.operation(), i.runningSince());
    }

    private static VmView view(String vm, String host, Machine m, VmState live, boolean there) {
        if (m == null) {
            return live == null
                    ? new VmView(vm, host, "unknown", 0, null, false, null, null)
                    : new VmView(
                            vm,
                            host,
                            live.state(),
                            live.pid(),
                            live.accelerator(),
                            live.hugepages(),
                            live.qemu(),
                            live.reason());
        }
        String state = m.dead() ? "dead" : !there ? "unknown" : live == null ? m.state() : live.state();
        long pid = m.dead() ? 0 : live == null ? m.pid() : live.pid();
        return new VmView(vm, host, state, pid, m.accelerator(), m.hugepages(), m.qemu(), m.reason());
    }

    /** An operation; {@code json} makes a tree of an event's data. */
    public static OperationView operation(
            Operation op, Function<Object, com.fasterxml.jackson.databind.JsonNode> json) {
        PublicEvent.Failed failed = op.state() instanceof Failed f ? f.failure() : null;
        return new OperationView(
                op.id(),
                op.kind(),
                op.instance(),
                op.requestId(),
                op.requestSource(),
                op.state() instanceof Completed ? "completed" : failed != null ? "failed" : "running",
                op.state() instanceof Completed ? null : op.state().phase(),
                op.checkpoint(),
                op.acceptedAt(),
                op.state() instanceof Ended e ? e.endedAt() : null,
                failed == null ? null : failed.code(),
                failed == null ? null : failed.message(),
                failed == null ? null : failed.remedy(),
                List.of(),
                failed != null
                        ? failed.hosts()
                        : op.state() instanceof OperationState.Retried r
                                ? r.retries().values().stream()
                                        .map(OperationState.Retry::why)
                                        .toList()
                                : List.of(),
                op.phases(),
                op.state() instanceof Completed c ? json.apply(c.outcome()) : null);
    }
}
