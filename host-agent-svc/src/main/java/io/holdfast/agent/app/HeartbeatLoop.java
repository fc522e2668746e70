package io.holdfast.agent.app;

import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.VmState;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jboss.logging.Logger;

/**
 * Tells each second, and at each change of a VM's state, that this host is alive and what runs here. Looks for changes
 * every {@value #LOOK_MILLIS} ms. One failed look never ends the loop.
 */
final class HeartbeatLoop {
    static final long LOOK_MILLIS = 200;
    static final long EVERY_MILLIS = 1000;
    private static final Logger LOG = Logger.getLogger(HeartbeatLoop.class);
    private final Instances instances;
    private final HostFacts facts;
    private final Outbox outbox;
    private final Telemetry telemetry;
    private Hypervisor.AcceleratorChoice accelerator;
    private String qemu;
    private List<Heartbeat.InstanceState> last;
    private long lastNanos;
    private final AtomicLong beats = new AtomicLong();

    HeartbeatLoop(Instances instances, HostFacts facts, Outbox outbox, Telemetry telemetry) {
        this.instances = instances;
        this.facts = facts;
        this.outbox = outbox;
        this.telemetry = telemetry;
    }

    /** Begins, with what the hypervisor said of itself. */
    @SuppressWarnings("FutureReturnValueIgnored") // look() never throws
    void start(ScheduledExecutorService timer, String qemuVersion, Hypervisor.AcceleratorChoice choice) {
        this.qemu = qemuVersion;
        this.accelerator = choice;
        timer.scheduleWithFixedDelay(this::look, 0, LOOK_MILLIS, TimeUnit.MILLISECONDS);
    }

    /** How many heartbeats were sent. */
    long beats() {
        return beats.get();
    }

    /** Looks once and tells when there is something to tell. */
    void look() {
        try {
            List<Heartbeat.InstanceState> now =
                    instances.all().stream().map(Instance::heartbeat).toList();
            boolean changed = !now.equals(last);
            long nanos = System.nanoTime();
            if (changed || nanos - lastNanos >= TimeUnit.MILLISECONDS.toNanos(EVERY_MILLIS - LOOK_MILLIS / 2)) {
                if (changed) {
                    log(last == null ? List.of() : last, now);
                    count(now);
                }
                outbox.heartbeat(heartbeat(now));
                last = now;
                lastNanos = nanos;
                beats.incrementAndGet();
            }
        } catch (RuntimeException | Error e) {
            LOG.errorf(e, "event=heartbeat-failed host=%s", instances.settings.host());
        }
    }

    private Heartbeat.Agent heartbeat(List<Heartbeat.InstanceState> now) {
        AgentSettings s = instances.settings;
        HostFacts.Memory memory = facts.memory(instances.all());
        return new Heartbeat.Agent(
                s.host(),
                s.underlay(),
                s.version(),
                qemu,
                accelerator.accelerator(),
                accelerator.reason(),
                Runtime.getRuntime().availableProcessors(),
                memory.totalBytes(),
                memory.freeBytes(),
                memory.hugepagesFree(),
                instances.ports.images().freeBytes(),
                now);
    }

    private void count(List<Heartbeat.InstanceState> now) {
        List<VmState> vms = now.stream().flatMap(i -> i.vms().stream()).toList();
        int dead = (int) vms.stream().filter(v -> "dead".equals(v.state())).count();
        telemetry.running(now.size(), vms.size(), dead);
    }

    private void log(List<Heartbeat.InstanceState> before, List<Heartbeat.InstanceState> now) {
        Map<String, String> was = new HashMap<>();
        before.forEach(i -> i.vms().forEach(v -> was.put(i.instance() + "/" + v.vm(), v.state())));
        for (Heartbeat.InstanceState i : now) {
            for (VmState v : i.vms()) {
                String old = was.get(i.instance() + "/" + v.vm());
                if (!Objects.equals(old, v.state())) {
                    LOG.infof(
                            "%s event=vm-state vm=%s state=%s was=%s reason=\"%s\"",
                            Op.own(i.instance(), instances.settings.host(), "watch"),
                            v.vm(),
                            v.state(),
                            old,
                            v.reason());
                }
            }
        }
    }
}
