package io.holdfast.schemas.view;

import io.holdfast.schemas.event.Heartbeat;
import java.time.Instant;

/**
 * A host; answer of {@code GET /api/v1/hosts}.
 *
 * @param state alive (agent and storage service are heard of), partly (one of them) or gone
 * @param agent last heartbeat of the agent, or null
 * @param storage last heartbeat of the storage service, or null
 */
public record HostView(
        String host,
        String state,
        boolean agentAlive,
        boolean storageAlive,
        Instant agentSeen,
        Instant storageSeen,
        Heartbeat.Agent agent,
        Heartbeat.Storage storage) {}
