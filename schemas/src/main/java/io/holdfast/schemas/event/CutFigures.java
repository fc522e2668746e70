package io.holdfast.schemas.event;

import java.util.List;

/**
 * What a cut took and saw. Times ending in Micros are microseconds since the epoch on the host's clock, or durations
 * where they say so.
 *
 * @param hosts one for each host of the instance
 */
public record CutFigures(List<HostCut> hosts) {
    public CutFigures {
        hosts = List.copyOf(hosts);
    }

    /**
     * One host's cut.
     *
     * @param startMicros the time the cut was asked for
     * @param gatesClosedMicros all gates closed
     * @param deliveredMicros every frame that passed is read by QEMU
     * @param stoppedMicros all VMs stopped, cookies sent
     * @param channelsMicros every peer's stopped cookie came and the settle time is over
     * @param armedMicros all snapshots armed
     * @param capturedMicros every peer's captured cookie came
     * @param runningMicros all VMs run again
     * @param trace what happened when, in the order in which the agent saw it; empty if it was not kept
     */
    public record HostCut(
            String host,
            long startMicros,
            long gatesClosedMicros,
            long deliveredMicros,
            long stoppedMicros,
            long channelsMicros,
            long armedMicros,
            long capturedMicros,
            long runningMicros,
            List<VmCut> vms,
            List<TraceStep> trace) {
        public HostCut {
            vms = List.copyOf(vms);
            trace = trace == null ? List.of() : List.copyOf(trace);
        }

        /** How much later (earlier if negative) than asked for the gates were closed, microseconds. */
        public long lateMicros() {
            return gatesClosedMicros - startMicros;
        }
    }

    /**
     * A step of a cut.
     *
     * @param micros microseconds since the epoch on the host's clock
     * @param vm the VM that it is about, or null
     * @param segment the segment that a cookie went over, or null
     * @param peer the host that a cookie came from, or null
     */
    public record TraceStep(long micros, Step step, String vm, String segment, String peer) {}

    /** What a {@link TraceStep} is about. */
    public enum Step {
        /** The gates of all NICs are closed. */
        gates_closed,
        /** QEMU has read every frame that passed. */
        delivered,
        /** {@code stop} is on its way to QEMU. */
        stop_sent,
        /** QEMU has answered {@code stop}. */
        stopped,
        /** A cookie <em>stopped</em> is sent over every segment. */
        stopped_said,
        /** The first cookie <em>stopped</em> of a host (also our own) has come on a segment. */
        stopped_heard,
        /** Every channel into this host is complete, the settle time included. */
        channels,
        /** {@code migrate} is on its way to QEMU. */
        snapshot_begun,
        /** Device state is saved and RAM is write-protected: seen by the first RAM record. */
        armed,
        /** A cookie <em>captured</em> is sent over every segment. */
        captured_said,
        /** The first cookie <em>captured</em> of a host has come on a segment. */
        captured_heard,
        /** {@code cont} is on its way to QEMU. */
        cont_sent,
        /** QEMU has answered {@code cont}. */
        running,
        /** Held frames are given back, the gates of all NICs are open. */
        gates_open
    }

    /**
     * One VM's cut.
     *
     * @param pauseMicros duration from the stop command to the answer of cont
     */
    public record VmCut(
            String vm, long stopMicros, long armedMicros, long runMicros, long pauseMicros, List<NicLedger> nics) {
        public VmCut {
            nics = List.copyOf(nics);
        }
    }

    /**
     * The frame ledger of one NIC since its gate was made, at the moment its channel was complete: entered = delivered +
     * held + dropped. Cookies are counted apart.
     *
     * @param nic index of the NIC in its VM
     * @param held frames in flight that went into the image
     */
    public record NicLedger(
            int nic, String segment, long entered, long delivered, long held, long dropped, long cookies) {}

    /** Longest pause of any VM in microseconds. */
    public long longestPauseMicros() {
        return hosts.stream()
                .flatMap(h -> h.vms().stream())
                .mapToLong(VmCut::pauseMicros)
                .max()
                .orElse(0);
    }

    /** Microseconds between the first and the last VM's stop, by the hosts' clocks. */
    public long skewMicros() {
        var stops = hosts.stream()
                .flatMap(h -> h.vms().stream())
                .mapToLong(VmCut::stopMicros)
                .summaryStatistics();
        return stops.getCount() == 0 ? 0 : stops.getMax() - stops.getMin();
    }

    /** Frames in flight that the checkpoint holds. */
    public long framesInFlight() {
        return hosts.stream()
                .flatMap(h -> h.vms().stream())
                .flatMap(v -> v.nics().stream())
                .mapToLong(NicLedger::held)
                .sum();
    }
}
