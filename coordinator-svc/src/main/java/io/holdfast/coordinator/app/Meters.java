package io.holdfast.coordinator.app;

import io.holdfast.coordinator.domain.Decision;
import io.holdfast.coordinator.domain.Effect;
import io.holdfast.coordinator.domain.HostInfo;
import io.holdfast.coordinator.domain.Input;
import io.holdfast.coordinator.domain.Operation;
import io.holdfast.coordinator.domain.OperationState;
import io.holdfast.schemas.event.ArchiveFigures;
import io.holdfast.schemas.event.PublicEvent;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.Locale;

/** Counts what the engine does. */
public final class Meters implements Engine.Listener {
    private final MeterRegistry registry;

    public Meters(MeterRegistry registry) {
        this.registry = registry;
    }

    /** Registers the gauges that look at an engine's state. */
    public void watch(Engine engine, Duration alive) {
        registry.gauge(Metrics.ACTIVE, engine, e -> e.state().operations().values().stream()
                .filter(o -> !o.ended())
                .count());
        registry.gauge(Metrics.INSTANCES, engine, e -> e.state().instances().size());
        registry.gauge(Metrics.CHECKPOINTS, engine, e -> e.state().checkpoints().size());
        registry.gauge(Metrics.EPOCH, engine, e -> e.state().epoch());
        registry.gauge(Metrics.HOSTS, engine, e -> e.state().hosts().values().stream()
                .filter((HostInfo h) -> h.agentAlive(e.now(), alive) && h.storageAlive(e.now(), alive))
                .count());
    }

    @Override
    public void decided(Input input, Decision decision) {
        registry.counter(
                        Metrics.INPUTS,
                        Metrics.INPUT,
                        input.getClass().getSimpleName().toLowerCase(Locale.ROOT))
                .increment();
        if (input instanceof Input.Announced || input instanceof Input.Recovered) {
            return;
        }
        for (Effect effect : decision.effects()) {
            switch (effect) {
                case Effect.JournalOperation j
                when j.operation().state() instanceof OperationState.Ended ended -> ended(j.operation(), ended);
                case Effect.Publish p
                when p.event() instanceof PublicEvent.Rejected r ->
                    registry.counter(
                                    Metrics.REJECTIONS,
                                    Metrics.CODE,
                                    r.problems().isEmpty()
                                            ? "none"
                                            : r.problems().getFirst().code().name())
                            .increment();
                case Effect.Publish p
                when p.event() instanceof PublicEvent.VmExited ->
                    registry.counter(Metrics.VM_EXITS).increment();
                default -> {}
            }
        }
    }

    private void ended(Operation op, OperationState.Ended ended) {
        boolean failed = ended.outcome() instanceof PublicEvent.Failed;
        String code = ended.outcome() instanceof PublicEvent.Failed f ? f.code().name() : "none";
        registry.counter(
                        Metrics.OPERATIONS,
                        Metrics.KIND,
                        op.kind().name(),
                        Metrics.RESULT,
                        failed ? "failed" : "completed",
                        Metrics.CODE,
                        code)
                .increment();
        op.phases().forEach((phase, millis) -> registry.timer(
                        Metrics.PHASES, Metrics.KIND, op.kind().name(), Metrics.PHASE, phase)
                .record(Duration.ofMillis(millis)));
        if (ended.outcome() instanceof PublicEvent.CheckpointCompleted c) {
            registry.timer(Metrics.PAUSE).record(Duration.ofNanos(c.cut().longestPauseMicros() * 1000));
            registry.counter(Metrics.FRAMES).increment((double) c.cut().framesInFlight());
            registry.counter(Metrics.STORED_BYTES).increment((double)
                    c.archive().stream().mapToLong(ArchiveFigures::storedBytes).sum());
        }
    }

    @Override
    public void defect(Input input, RuntimeException e) {
        registry.counter(Metrics.DEFECTS).increment();
    }

    @Override
    public void retried(Throwable cause) {
        registry.counter(Metrics.RETRIES).increment();
    }
}
