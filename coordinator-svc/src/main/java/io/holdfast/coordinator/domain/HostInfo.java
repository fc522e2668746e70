package io.holdfast.coordinator.domain;

import io.holdfast.schemas.event.Heartbeat;
import java.time.Duration;
import java.time.Instant;

/**
 * What is known of a host. Not journalled: heartbeats bring it again.
 *
 * @param agent last heartbeat of its agent, or null
 * @param agentSeen when that was, or null
 * @param storage last heartbeat of its storage service, or null
 * @param storageSeen when that was, or null
 */
public record HostInfo(
        String host, Heartbeat.Agent agent, Instant agentSeen, Heartbeat.Storage storage, Instant storageSeen) {

    static HostInfo unknown(String host) {
        return new HostInfo(host, null, null, null, null);
    }

    HostInfo seen(Heartbeat beat, Instant at) {
        return switch (beat) {
            case Heartbeat.Agent a -> new HostInfo(host, a, later(agentSeen, at), storage, storageSeen);
            case Heartbeat.Storage s -> new HostInfo(host, agent, agentSeen, s, later(storageSeen, at));
        };
    }

    private static Instant later(Instant a, Instant b) {
        return a == null || b.isAfter(a) ? b : a;
    }

    /** Whether the agent was heard of within that time. */
    public boolean agentAlive(Instant now, Duration within) {
        return agentSeen != null && !agentSeen.plus(within).isBefore(now);
    }

    /** Whether the storage service was heard of within that time. */
    public boolean storageAlive(Instant now, Duration within) {
        return storageSeen != null && !storageSeen.plus(within).isBefore(now);
    }
}
