package io.holdfast.coordinator.domain;

import com.fasterxml.jackson.annotation.JsonIgnore;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.OperationKind;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;

/**
 * One operation, as it is journalled.
 *
 * @param id {@link Ids#operation}
 * @param instance null for operations on the repository
 * @param trace CloudEvents extension attributes of the request ({@code traceparent}) that commands and events carry on
 * @param checkpoint the checkpoint that is made or restored, or null
 * @param manifestKey where the manifest of a checkpoint to restore is, or null
 * @param label label of the checkpoint that is made, or null
 * @param layout the instance: as it runs (checkpoint, destroy) or as it will run (deploy, restore); null for operations on
 *     the repository
 * @param clear hosts that a restore clears first; empty: none
 * @param skipped hosts that were gone when the request came; they are told, but not waited for
 * @param task what is to be done on the repository; null for operations on an instance
 * @param phases phases that are over, with their milliseconds
 */
public record Operation(
        String id,
        OperationKind kind,
        String instance,
        String requestId,
        String requestSource,
        Map<String, String> trace,
        Instant acceptedAt,
        String checkpoint,
        String manifestKey,
        String label,
        InstanceLayout layout,
        List<String> clear,
        List<String> skipped,
        RepositoryTask task,
        SortedMap<String, Long> phases,
        OperationState state) {
    public Operation {
        trace = Sorted.map(trace);
        clear = List.copyOf(clear);
        skipped = List.copyOf(skipped);
        phases = Sorted.map(phases);
    }

    /** Hosts of the layout, in its order; none for operations on the repository. */
    @JsonIgnore
    public List<String> hosts() {
        return layout == null
                ? List.of()
                : layout.hosts().stream().map(InstanceLayout.HostPart::host).toList();
    }

    /** Whether it is over. */
    @JsonIgnore
    public boolean ended() {
        return state instanceof OperationState.Ended;
    }

    Operation in(OperationState next) {
        return new Operation(
                id,
                kind,
                instance,
                requestId,
                requestSource,
                trace,
                acceptedAt,
                checkpoint,
                manifestKey,
                label,
                layout,
                clear,
                skipped,
                task,
                phases,
                next);
    }

    Operation phaseDone(String phase, long millis) {
        return new Operation(
                id,
                kind,
                instance,
                requestId,
                requestSource,
                trace,
                acceptedAt,
                checkpoint,
                manifestKey,
                label,
                layout,
                clear,
                skipped,
                task,
                Sorted.with(phases, phase, millis),
                state);
    }
}
