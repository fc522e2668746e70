package io.holdfast.coordinator.domain;

import io.holdfast.schemas.view.CheckpointView;
import java.time.Instant;
import java.util.Map;
import java.util.SortedMap;

/**
 * All that the coordinator knows. Immutable.
 *
 * @param epoch the epoch that commands carry
 * @param operations by id; journalled
 * @param instances by name; journalled
 * @param hosts by id; from heartbeats
 * @param checkpoints by id; from the catalog
 * @param sentAt operation id to when its outstanding commands were last sent; not journalled
 * @param since when this run of the coordinator began to decide, or went on after it stood still; null: not yet
 */
public record State(
        long epoch,
        SortedMap<String, Operation> operations,
        SortedMap<String, Instance> instances,
        SortedMap<String, HostInfo> hosts,
        SortedMap<String, CheckpointView> checkpoints,
        SortedMap<String, Instant> sentAt,
        Instant since) {
    public State {
        operations = Sorted.map(operations);
        instances = Sorted.map(instances);
        hosts = Sorted.map(hosts);
        checkpoints = Sorted.map(checkpoints);
        sentAt = Sorted.map(sentAt);
    }

    /** Nothing known. */
    public static State empty() {
        return new State(0, null, null, null, null, null, null);
    }

    /** The state that a journal and a catalog tell of, in the epoch after the journal's. */
    public static State of(
            long epoch,
            Map<String, Operation> operations,
            Map<String, Instance> instances,
            Map<String, CheckpointView> checkpoints) {
        return new State(
                epoch, Sorted.map(operations), Sorted.map(instances), null, Sorted.map(checkpoints), null, null);
    }
}
