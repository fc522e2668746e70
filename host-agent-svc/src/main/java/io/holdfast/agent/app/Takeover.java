package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.InstanceLayout;
import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import org.jboss.logging.Logger;

/**
 * What an agent does with what it finds at its start: running instances are taken over and their paused VMs run again,
 * half-built ones are removed, so are namespaces of this host that belong to no instance. Nothing that another agent or
 * somebody else made is touched. A failure concerns one instance only.
 */
final class Takeover {
    private static final Logger LOG = Logger.getLogger(Takeover.class);
    private final Instances instances;

    Takeover(Instances instances) {
        this.instances = instances;
    }

    void run() throws IOException {
        Set<String> persisted = new HashSet<>(instances.files.present());
        FaultPoints faults = instances.ports.faults();
        faults.look();
        faults.reachIo(FaultPoint.TAKEOVER_BEGUN);
        // Side by side, as the VMs are: one QEMU that does not answer keeps no VM of another standing.
        each(List.copyOf(persisted), name -> {
            Op op = Op.own(name, instances.settings.host(), "takeover");
            try {
                one(name, op);
            } catch (AgentException | IOException | RuntimeException e) {
                LOG.errorf(e, "%s event=takeover-failed", op);
            }
        });
        for (String name : instances.ports.fabric().present()) {
            if (!persisted.contains(name)) {
                Op op = Op.own(name, instances.settings.host(), "takeover");
                try {
                    instances.ports.fabric().remove(name);
                    LOG.warnf("%s event=leftover-network-removed", op);
                } catch (AgentException | RuntimeException e) {
                    LOG.errorf(e, "%s event=leftover-network-not-removed", op);
                }
            }
        }
    }

    private static void each(List<String> names, Consumer<String> task) {
        try {
            Parallel.each(names, Math.max(1, names.size()), task::accept);
        } catch (AgentException e) {
            LOG.errorf(e, "event=takeover-failed");
        }
    }

    private void one(String name, Op op) throws AgentException, IOException {
        Optional<InstanceLayout> layout = instances.files.layout(name);
        if (layout.isEmpty()) {
            // The layout is the first file made and the last but one removed: without it there is nothing else.
            instances.ports.fabric().remove(name);
            instances.files.remove(name);
            LOG.infof("%s event=empty-instance-removed", op);
            return;
        }
        Instance instance = new Instance(layout.get(), instances.settings.host(), instances.files.state(name));
        instances.put(instance);
        if (instance.state.phase() != InstanceState.Phase.RUNNING) {
            LOG.warnf("%s event=unfinished-instance-removed was=%s", op, instance.state.phase());
            instances.remove(name, op);
            return;
        }
        List<String> paused = new CopyOnWriteArrayList<>();
        each(instance.placed, vmName -> {
            try {
                Vm vm = instances.ports.hypervisor().adopt(instances.vmPlan(instance, vmName, null));
                instance.vms.put(vmName, vm);
                LOG.infof(
                        "%s event=vm-found vm=%s pid=%d state=%s",
                        op, vmName, vm.pid(), vm.state().state());
                // First of all: nothing stands still because an agent died.
                if (instances.makeSafe(instance, vm, op)) {
                    paused.add(vmName);
                }
            } catch (AgentException | RuntimeException e) {
                LOG.errorf(e, "%s event=vm-not-taken-over vm=%s", op, vmName);
            }
        });
        instances.ports.faults().reachIo(FaultPoint.TAKEOVER_RUNNING);
        try {
            instances.release(instance, op);
        } catch (AgentException | RuntimeException e) {
            LOG.errorf(e, "%s event=unfinished-images-not-removed", op);
        }
        if (instance.present().stream().anyMatch(Instances::alive)) {
            try {
                instance.network =
                        instances.ports.fabric().adopt(instances.plan(instance.layout), Instances.tapOwners(instance));
            } catch (AgentException | RuntimeException e) {
                LOG.errorf(e, "%s event=network-not-taken-over", op);
            }
        }
        LOG.infof(
                "%s event=taken-over vms=%d run-again=%s network=%s",
                op, instance.present().size(), paused, instance.network != null);
    }
}
