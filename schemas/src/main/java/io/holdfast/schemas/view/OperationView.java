package io.holdfast.schemas.view;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/**
 * An operation; answer of {@code GET /api/v1/operations}.
 *
 * @param kind null when a rejected request could not be read
 * @param state running, completed, failed or rejected
 * @param phase phase at work, or the one that failed, or null
 * @param checkpoint checkpoint that is made or restored, or null
 * @param endedAt null while running
 * @param code why it failed, or null
 * @param problems why it was rejected; else empty
 * @param hosts what each host had to say of a failure, or why it is asked again while the operation runs; else empty
 * @param phases phases that are over, with their milliseconds
 * @param completed data of the completed event, or null
 */
public record OperationView(
        String operation,
        OperationKind kind,
        String instance,
        String requestId,
        String requestSource,
        String state,
        String phase,
        String checkpoint,
        Instant startedAt,
        Instant endedAt,
        ErrorCode code,
        String message,
        String remedy,
        List<Problem> problems,
        List<PublicEvent.HostFailure> hosts,
        Map<String, Long> phases,
        JsonNode completed) {
    public OperationView {
        problems = problems == null ? List.of() : List.copyOf(problems);
        hosts = hosts == null ? List.of() : List.copyOf(hosts);
        phases = phases == null ? Map.of() : phases;
    }
}
