package io.holdfast.coordinator.app;

/** Names of all metrics and labels of the coordinator. */
public final class Metrics {
    /** Operations that ended; labels {@link #KIND}, {@link #RESULT}, {@link #CODE}. */
    public static final String OPERATIONS = "holdfast.operations";
    /** Requests refused; label {@link #CODE} (of the first problem). */
    public static final String REJECTIONS = "holdfast.requests.rejected";
    /** Time that phases took; labels {@link #KIND}, {@link #PHASE}. */
    public static final String PHASES = "holdfast.phase.duration";
    /** Longest pause of a VM in a checkpoint. */
    public static final String PAUSE = "holdfast.checkpoint.pause";
    /** Frames in flight that checkpoints hold. */
    public static final String FRAMES = "holdfast.checkpoint.frames";
    /** Bytes uploaded by checkpoints. */
    public static final String STORED_BYTES = "holdfast.checkpoint.stored.bytes";
    /** VMs that ended by themselves. */
    public static final String VM_EXITS = "holdfast.vm.exits";
    /** Operations at work. */
    public static final String ACTIVE = "holdfast.operations.active";
    /** Instances known. */
    public static final String INSTANCES = "holdfast.instances";
    /** Checkpoints known. */
    public static final String CHECKPOINTS = "holdfast.checkpoints";
    /** Hosts with a live agent and storage service. */
    public static final String HOSTS = "holdfast.hosts.alive";
    /** The epoch. */
    public static final String EPOCH = "holdfast.coordinator.epoch";
    /** Inputs decided; label {@link #INPUT}. */
    public static final String INPUTS = "holdfast.coordinator.inputs";
    /** Decisions that failed: defects. */
    public static final String DEFECTS = "holdfast.coordinator.defects";
    /** Writes to the broker that had to be tried again. */
    public static final String RETRIES = "holdfast.coordinator.write.retries";
    /** Records that could not be read; label {@link #TOPIC}. */
    public static final String UNREADABLE_RECORDS = "holdfast.coordinator.records.unreadable";

    public static final String KIND = "kind";
    public static final String RESULT = "result";
    public static final String CODE = "code";
    public static final String PHASE = "phase";
    public static final String INPUT = "input";
    public static final String TOPIC = "topic";

    private Metrics() {}
}
