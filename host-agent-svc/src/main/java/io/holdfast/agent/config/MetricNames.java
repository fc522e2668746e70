package io.holdfast.agent.config;

/** Every metric and label name of the host agent. */
public final class MetricNames {
    /** Timer: commands done, by {@link #PHASE} and {@link #CODE}. */
    public static final String COMMANDS = "holdfast.agent.commands";
    /** Timer: pause of a VM in a cut, from stop to the answer of cont. */
    public static final String PAUSE = "holdfast.agent.cut.pause";
    /** Counter: frames in flight that went into images. */
    public static final String FRAMES = "holdfast.agent.cut.frames";
    /** Counter: bytes of RAM written to images, without holes. */
    public static final String WRITTEN_BYTES = "holdfast.agent.write.bytes";
    /** Timer: writing the images of a checkpoint after its cut. */
    public static final String WRITE = "holdfast.agent.write";
    /** Gauge: instances here. */
    public static final String INSTANCES = "holdfast.agent.instances";
    /** Gauge: VMs here. */
    public static final String VMS = "holdfast.agent.vms";
    /** Gauge: VMs here that have ended. */
    public static final String VMS_DEAD = "holdfast.agent.vms.dead";

    /** Label: phase of the command. */
    public static final String PHASE = "phase";
    /** Label: error code, or {@code none}. */
    public static final String CODE = "code";

    private MetricNames() {}
}
