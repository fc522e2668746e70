package io.holdfast.agent.domain;

import io.holdfast.schemas.event.CutFigures;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * Takes one host's part of a cut: gates, stop, cookies, frames in flight, snapshots, cookies, run. Needs no broker, no
 * coordinator and no disk between stop and run. Whatever happens, when {@link Prepared#cut} returns or throws, the VMs run, held
 * frames are given back and gates are open.
 */
public interface CutEngine {
    /** Opens what the cut needs (cookie sockets, buffers). Call before the cut's time. */
    Prepared prepare(InstanceNetwork network, List<Participant> vms, byte[] nonce, Duration limit)
            throws AgentException;

    /** A VM with its prepared snapshot. */
    record Participant(Vm vm, Vm.Snapshot snapshot) {}

    /** Ready for the cut. Closing it gives up. */
    interface Prepared extends AutoCloseable {
        /**
         * Waits for the time, then cuts.
         *
         * @param startAtMicros microseconds since the epoch; refused with TOO_LATE when already past
         */
        Result cut(long startAtMicros) throws AgentException;

        @Override
        void close();
    }

    /** Figures, and the frames in flight of every NIC. */
    record Result(CutFigures.HostCut figures, Map<NicId, List<Frame>> frames) {}
}
