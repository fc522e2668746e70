package io.holdfast.schemas.view;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;

/**
 * A public event as a line of {@code GET /api/v1/events}.
 *
 * @param type CloudEvents type
 * @param id CloudEvents id
 * @param subject operation, or null
 * @param data the event's data
 */
public record EventLine(String type, String id, Instant time, String subject, JsonNode data) {}
