package io.holdfast.agent.app;

import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.InstanceNetwork;
import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.VmState;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * One instance's part on this host, in memory. Changed only on the instance's own executor; {@link #vms} and
 * {@link #heartbeat} may be read by any thread.
 */
final class Instance {
    final InstanceLayout layout;
    /** Names of the VMs that belong on this host, in the layout's order. */
    final List<String> placed;
    /** VMs that have been started or found. */
    final Map<String, Vm> vms = new ConcurrentHashMap<>();

    volatile InstanceState state;
    /** Null until built or adopted, and after release. */
    volatile InstanceNetwork network;
    /** The checkpoint that is prepared or at work, or null. */
    volatile OpenCheckpoint checkpoint;
    /** The images of a load, by VM, until resume. */
    volatile Map<String, Image> loaded = Map.of();

    /** What is being loaded or is loaded, until the VMs run: its images are in use. Or null. */
    volatile String loadedCheckpoint;

    Instance(InstanceLayout layout, String host, InstanceState state) {
        this.layout = layout;
        this.placed = layout.part(host).vms();
        this.state = state;
    }

    String name() {
        return layout.instance();
    }

    /** VMs of this host in the layout's order; those not started are missing. */
    List<Vm> present() {
        List<Vm> list = new ArrayList<>();
        for (String name : placed) {
            Vm vm = vms.get(name);
            if (vm != null) {
                list.add(vm);
            }
        }
        return list;
    }

    List<VmState> states() {
        return present().stream().map(Vm::state).toList();
    }

    Heartbeat.InstanceState heartbeat() {
        return new Heartbeat.InstanceState(name(), states());
    }

    /** A checkpoint between prepare and its end. */
    static final class OpenCheckpoint {
        final String id;
        final List<CutEngine.Participant> participants;
        final Map<String, Image> images;
        final CutEngine.Prepared prepared;
        /** True from the cut's begin: it no longer expires. */
        volatile boolean cutting;

        OpenCheckpoint(
                String id,
                List<CutEngine.Participant> participants,
                Map<String, Image> images,
                CutEngine.Prepared prepared) {
            this.id = id;
            this.participants = List.copyOf(participants);
            this.images = Map.copyOf(images);
            this.prepared = prepared;
        }
    }
}
