package io.holdfast.agent.config;

import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.nat.NativeException;
import java.nio.file.Path;
import java.util.List;

/** Faults on purpose, when the configuration allows them. */
public final class Faults {
    /** Read and removed when a command of a checkpoint begins, in the state folder. */
    static final String FILE = "fault";

    private static final List<String> ACTIONS = List.of("kill", "fail", "delay");

    /** Those of this process when they were needed before its configuration was read. */
    private static volatile FaultPoints early;

    private Faults() {}

    /** Fault points for what comes before the configuration is read, which must have allowed them; the agent goes on with them. */
    public static FaultPoints early(Path stateFolder) {
        early = FaultPoints.enabled(new Self(), stateFolder.resolve(FILE));
        return early;
    }

    /**
     * The configuration's fault points.
     *
     * @throws IllegalArgumentException when faults or a wrong clock are asked for without being allowed, or are not understood
     */
    static FaultPoints of(AgentConfig config) {
        if (!config.faultInjection()) {
            if (config.fault().isPresent() || config.clockOffset().isPresent()) {
                throw new IllegalArgumentException(
                        "holdfast.agent.fault and holdfast.agent.clock-offset are for tests: refused unless holdfast.agent.fault-injection is true");
            }
            return FaultPoints.OFF;
        }
        FaultPoints begun = early;
        FaultPoints faults = begun != null
                ? begun
                : FaultPoints.enabled(new Self(), config.stateDir().resolve(FILE));
        config.fault().ifPresent(faults::arm);
        return faults;
    }

    /** This process. */
    private static final class Self implements FaultPoints.Powers {
        @Override
        public void kill() {
            try {
                boolean sent = Native.pidfdSignal(
                        Native.pidfdOpen(ProcessHandle.current().pid()), Native.SIGKILL);
                throw new IllegalStateException("SIGKILL sent: " + sent);
            } catch (NativeException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void arm(FaultPoint point, String action, long millis) {
            try {
                Native.fault(point.number(), ACTIONS.indexOf(action), millis);
            } catch (NativeException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
