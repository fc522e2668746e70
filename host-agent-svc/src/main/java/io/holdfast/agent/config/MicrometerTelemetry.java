package io.holdfast.agent.config;

import io.holdfast.agent.app.Telemetry;
import io.holdfast.schemas.event.CutFigures;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;

/** Counts with Micrometer, under the names of {@link MetricNames}. */
final class MicrometerTelemetry implements Telemetry {
    private final MeterRegistry registry;
    private final AtomicInteger instances;
    private final AtomicInteger vms;
    private final AtomicInteger dead;

    MicrometerTelemetry(MeterRegistry registry) {
        this.registry = registry;
        this.instances = registry.gauge(MetricNames.INSTANCES, new AtomicInteger());
        this.vms = registry.gauge(MetricNames.VMS, new AtomicInteger());
        this.dead = registry.gauge(MetricNames.VMS_DEAD, new AtomicInteger());
    }

    @Override
    public void commandEnded(String phase, String code, Duration took) {
        registry.timer(MetricNames.COMMANDS, MetricNames.PHASE, phase, MetricNames.CODE, code == null ? "none" : code)
                .record(took);
    }

    @Override
    public void cut(CutFigures.HostCut figures) {
        for (CutFigures.VmCut vm : figures.vms()) {
            registry.timer(MetricNames.PAUSE).record(Duration.ofNanos(vm.pauseMicros() * 1000));
            vm.nics().forEach(n -> registry.counter(MetricNames.FRAMES).increment((double) n.held()));
        }
    }

    @Override
    public void running(int instanceCount, int vmCount, int deadVms) {
        instances.set(instanceCount);
        vms.set(vmCount);
        dead.set(deadVms);
    }

    @Override
    public void written(long dataBytes, Duration took) {
        registry.counter(MetricNames.WRITTEN_BYTES).increment((double) dataBytes);
        registry.timer(MetricNames.WRITE).record(took);
    }
}
