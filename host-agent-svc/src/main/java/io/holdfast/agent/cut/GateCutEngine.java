package io.holdfast.agent.cut;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.InstanceNetwork;
import io.holdfast.agent.net.Cookie;
import io.holdfast.agent.net.HostNetwork;
import io.holdfast.schemas.event.ErrorCode;
import java.time.Duration;
import java.util.List;

/** Takes cuts with gates and cookies, see {@link PreparedCut}. */
public final class GateCutEngine implements CutEngine {
    /** How long a channel stays open after the last cookie for frames that took another path through the kernel. */
    public static final Duration DEFAULT_SETTLE = Duration.ofMillis(1);

    private final Duration settle;
    private final FaultPoints faults;

    public GateCutEngine(Duration settle) {
        this(settle, FaultPoints.OFF);
    }

    /** One that passes fault points. */
    public GateCutEngine(Duration settle, FaultPoints faults) {
        this.settle = settle;
        this.faults = faults;
    }

    @Override
    public Prepared prepare(InstanceNetwork network, List<Participant> vms, byte[] nonce, Duration limit)
            throws AgentException {
        if (!(network instanceof HostNetwork host)) {
            throw new IllegalArgumentException("a network of another fabric");
        }
        if (nonce.length != Cookie.NONCE) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT, "the nonce has " + nonce.length + " bytes, not " + Cookie.NONCE, "");
        }
        return new PreparedCut(host, List.copyOf(vms), nonce.clone(), limit, settle, faults);
    }
}
