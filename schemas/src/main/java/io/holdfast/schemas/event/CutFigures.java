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
            List<VmCut> vms) {
        public HostCut {
            vms = List.copyOf(vms);
        }
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
