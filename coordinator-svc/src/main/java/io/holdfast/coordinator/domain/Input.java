package io.holdfast.coordinator.domain;

import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.view.CheckpointView;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/** What the coordinator decides on. Everything that is not a function of the state comes in here. */
public sealed interface Input {
    /**
     * A request that is valid by itself; a deploy's spec is complete.
     *
     * @param nonce 16 random bytes in hex, used if a checkpoint begins
     * @param trace extension attributes to carry on
     */
    record Requested(
            String requestId,
            String source,
            io.holdfast.schemas.event.Request request,
            String nonce,
            Map<String, String> trace)
            implements Input {}

    /** A request that could not be read or is not valid; {@code kind} and {@code instance} may be null. */
    record Refused(
            String requestId,
            String source,
            OperationKind kind,
            String instance,
            List<Problem> problems,
            Map<String, String> trace)
            implements Input {}

    /** A host reports. */
    record Reported(Report report) implements Input {}

    /** A host lives. {@code at} is the sender's time. */
    record Beat(Heartbeat heartbeat, Instant at) implements Input {}

    /** The catalog names a checkpoint. */
    record Cataloged(CheckpointView checkpoint) implements Input {}

    /** The catalog names a checkpoint no more. */
    record Uncataloged(String checkpoint) implements Input {}

    /** The outcome of an operation is published. */
    record Announced(String operation) implements Input {}

    /** The coordinator has replayed its journal: what was outstanding is sent again. */
    record Recovered() implements Input {}

    /** Nothing could be decided for a while (the broker was away, the process stood still): heartbeats and answers lie unread. */
    record Stalled() implements Input {}

    /** Time goes on. */
    record Tick() implements Input {}
}
