package io.holdfast.agent.app;

import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.Report;

/** The way out to the coordinator. Never blocks for long, never throws; thread-safe. */
public interface Outbox {
    /**
     * Sends a report, in the order of calls, again and again until it is taken.
     *
     * @param traceparent W3C trace context of the command, or null
     */
    void report(Report report, String traceparent);

    /** Sends a heartbeat; an older one that still waits is dropped. */
    void heartbeat(Heartbeat.Agent heartbeat);
}
