package io.holdfast.schemas.view;

/**
 * Answer (202) of {@code POST /api/v1/requests/*}: the request is published; what came of it is told by events.
 *
 * @param requestId CloudEvents id of the request
 * @param operation id that the operation has if the request is accepted
 */
public record RequestAccepted(String requestId, String operation) {}
