package io.holdfast.coordinator.domain;

import com.fasterxml.jackson.annotation.JsonIgnore;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.VmState;
import java.time.Instant;
import java.util.List;
import java.util.SortedMap;

/**
 * One instance, as it is journalled.
 *
 * @param name its name
 * @param layout where its parts are
 * @param madeBy operation that deployed or restored it
 * @param operation operation at work on it, or null
 * @param runningSince when its VMs began to run here, or null: not yet
 * @param machines VM name to what is known of it
 */
public record Instance(
        String name,
        InstanceLayout layout,
        String madeBy,
        String operation,
        Instant runningSince,
        SortedMap<String, Machine> machines) {
    public Instance {
        machines = Sorted.map(machines);
    }

    /**
     * A VM of the instance.
     *
     * @param state running, paused, incoming or dead
     * @param diedAt when it was seen dead, or null
     */
    public record Machine(
            String vm,
            String host,
            String state,
            long pid,
            String accelerator,
            boolean hugepages,
            String qemu,
            String reason,
            Instant diedAt) {
        static Machine of(String host, VmState s, Instant now) {
            return new Machine(
                    s.vm(),
                    host,
                    s.state(),
                    s.pid(),
                    s.accelerator(),
                    s.hugepages(),
                    s.qemu(),
                    s.reason(),
                    isDead(s) ? now : null);
        }

        /** Whether it ended. */
        @JsonIgnore
        public boolean dead() {
            return diedAt != null;
        }

        Machine died(String why, Instant now) {
            return new Machine(vm, host, "dead", 0, accelerator, hugepages, qemu, why, now);
        }
    }

    static boolean isDead(VmState s) {
        return "dead".equals(s.state());
    }

    /** Hosts of the layout, in its order. */
    @JsonIgnore
    public List<String> hosts() {
        return layout.hosts().stream().map(InstanceLayout.HostPart::host).toList();
    }

    Instance busy(String op) {
        return new Instance(name, layout, madeBy, op, runningSince, machines);
    }

    Instance free() {
        return busy(null);
    }

    Instance with(Machine machine) {
        return new Instance(
                name, layout, madeBy, operation, runningSince, Sorted.with(machines, machine.vm(), machine));
    }
}
