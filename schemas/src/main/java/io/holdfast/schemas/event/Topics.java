package io.holdfast.schemas.event;

/** Names of the Kafka topics. A prefix from configuration ({@code holdfast.topic-prefix}) goes before each. */
public final class Topics {
    /** Requests of other systems, key: instance. */
    public static final String REQUESTS = "holdfast.requests";
    /** Commands to hosts, key: host. */
    public static final String COMMANDS = "holdfast.commands";
    /** Reports of hosts, key: operation. */
    public static final String REPORTS = "holdfast.reports";
    /** Public events, key: instance. */
    public static final String EVENTS = "holdfast.events";
    /** The coordinator's memory, compacted, key: {@code operation/ID} or {@code instance/NAME}. */
    public static final String JOURNAL = "holdfast.journal";
    /** Heartbeats, compacted, key: {@code agent/HOST} or {@code storage/HOST}. */
    public static final String HOSTS = "holdfast.hosts";
    /** Checkpoint manifests, compacted, key: checkpoint. */
    public static final String CATALOG = "holdfast.catalog";

    private Topics() {}
}
