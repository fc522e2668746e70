package io.holdfast.agent.config;

import io.holdfast.agent.app.HostAgent;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.inject.Produces;
import java.util.concurrent.atomic.AtomicLong;
import org.eclipse.microprofile.health.HealthCheck;
import org.eclipse.microprofile.health.HealthCheckResponse;
import org.eclipse.microprofile.health.Liveness;
import org.eclipse.microprofile.health.Readiness;

/** Ready once the takeover is done; alive while heartbeats go on. */
@ApplicationScoped
public class AgentHealth {
    private static final long LIMIT_NANOS = 15_000_000_000L;
    private final HostAgent agent;
    private final AtomicLong lastBeats = new AtomicLong(-1);
    private final AtomicLong lastChange = new AtomicLong(System.nanoTime());

    AgentHealth(HostAgent agent) {
        this.agent = agent;
    }

    @Produces
    @Readiness
    @ApplicationScoped
    HealthCheck takeover() {
        return () -> HealthCheckResponse.named("takeover").status(agent.ready()).build();
    }

    @Produces
    @Liveness
    @ApplicationScoped
    HealthCheck heartbeats() {
        return () -> {
            long beats = agent.beats();
            long now = System.nanoTime();
            if (lastBeats.getAndSet(beats) != beats || !agent.ready()) {
                lastChange.set(now);
            }
            return HealthCheckResponse.named("heartbeats")
                    .withData("sent", beats)
                    .status(now - lastChange.get() < LIMIT_NANOS)
                    .build();
        };
    }
}
