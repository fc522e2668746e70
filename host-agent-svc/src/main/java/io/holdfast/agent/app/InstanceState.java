package io.holdfast.agent.app;

import java.util.List;

/**
 * What the agent keeps of an instance beside its layout, in {@code instances/<instance>/state.json}. Written before each
 * step that it names, so that an agent that starts knows what it finds.
 *
 * @param version {@value #VERSION}
 * @param phase how far the instance is
 * @param epoch highest epoch seen for it
 * @param checkpoints checkpoints whose images this agent has begun here and not completed
 */
record InstanceState(int version, Phase phase, long epoch, List<String> checkpoints) {
    static final int VERSION = 1;

    /** How far an instance is. */
    enum Phase {
        /** A deploy or load is at work: found at start, the instance is removed. */
        BUILDING,
        /** Loaded from a checkpoint, its VMs must not run before resume: found at start, the instance is removed. */
        LOADED,
        /** Its VMs run: found at start, they are taken over and run again if paused. */
        RUNNING,
        /** Being removed: found at start, the removal goes on. */
        REMOVING
    }

    InstanceState {
        checkpoints = checkpoints == null ? List.of() : List.copyOf(checkpoints);
    }

    static InstanceState of(Phase phase, long epoch) {
        return new InstanceState(VERSION, phase, epoch, List.of());
    }

    InstanceState with(Phase newPhase) {
        return new InstanceState(VERSION, newPhase, epoch, checkpoints);
    }

    InstanceState withEpoch(long newEpoch) {
        return new InstanceState(VERSION, phase, Math.max(epoch, newEpoch), checkpoints);
    }

    InstanceState withCheckpoints(List<String> now) {
        return new InstanceState(VERSION, phase, epoch, now);
    }
}
