package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Report;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.jboss.logging.Logger;

/** Deploy, load, resume and destroy. */
final class BuildWork {
    private static final Logger LOG = Logger.getLogger(BuildWork.class);
    private final Instances instances;
    private final Clock clock;

    BuildWork(Instances instances, Clock clock) {
        this.instances = instances;
        this.clock = clock;
    }

    /**
     * Builds the network, starts the VMs. Needs: no such instance here. Effects: layout and state durable, namespace,
     * VMs running. On failure: nothing is left.
     */
    void deploy(Command.Deploy command, Reporter reporter, CancelToken token) throws AgentException {
        Op op = Op.of(command);
        Instance instance = instances.begin(command.layout(), command.header().epoch());
        try {
            instance.network = instances.ports.fabric().build(instances.plan(instance.layout), false);
            token.check();
            start(instance, Map.of(), false, op, token);
            token.check();
            instances.state(instance, instance.state.with(InstanceState.Phase.RUNNING));
        } catch (AgentException | RuntimeException e) {
            instances.undo(instance.name(), op);
            throw e;
        }
        reporter.last(new Report.Deployed(reporter.done(), instance.states()));
    }

    private void start(Instance instance, Map<String, Image> images, boolean incoming, Op op, CancelToken token)
            throws AgentException {
        Parallel.each(instance.placed, instances.settings.parallelism(), name -> {
            token.check();
            Vm vm = instances.ports.hypervisor().start(instances.vmPlan(instance, name, images.get(name)), incoming);
            instance.vms.put(name, vm);
            LOG.infof(
                    "%s event=vm-started vm=%s pid=%d accelerator=%s incoming=%s",
                    op, name, vm.pid(), vm.state().accelerator(), incoming);
        });
    }

    /**
     * Builds the network with closed gates, starts QEMU, loads images. Needs: complete images here, no such instance.
     * Effects: VMs loaded, not running. On failure: nothing is left but the images.
     */
    void load(Command.Load command, Reporter reporter, CancelToken token) throws AgentException {
        Op op = Op.of(command);
        Instance instance = instances.begin(command.layout(), command.header().epoch());
        instance.loadedCheckpoint = command.checkpoint();
        try {
            Map<String, Image> images = new ConcurrentHashMap<>();
            Parallel.each(
                    instance.placed,
                    instances.settings.parallelism(),
                    vm -> images.put(vm, instances.ports.images().open(command.checkpoint(), vm)));
            token.check();
            instance.network = instances.ports.fabric().build(instances.plan(instance.layout), true);
            token.check();
            start(instance, images, true, op, token);
            token.check();
            long total = instance.placed.stream()
                    .mapToLong(v -> instance.layout.spec().vm(v).memoryBytes())
                    .sum();
            AtomicLong done = new AtomicLong();
            reporter.progress("load", 0, total, "bytes");
            // A VM that is killed fails its load: that is how a load is given up.
            try (var hook = token.onCancel(() -> instance.present().forEach(Vm::kill))) {
                Parallel.each(instance.present(), instances.settings.parallelism(), vm -> {
                    token.check();
                    long begin = System.nanoTime();
                    vm.load(images.get(vm.name()));
                    long bytes = instance.layout.spec().vm(vm.name()).memoryBytes();
                    reporter.progress("load", done.addAndGet(bytes), total, "bytes");
                    LOG.infof(
                            "%s event=vm-loaded vm=%s bytes=%d millis=%d",
                            op, vm.name(), bytes, (System.nanoTime() - begin) / 1_000_000);
                });
            }
            token.check();
            instances.requireAlive(instance);
            instance.loaded = Map.copyOf(images);
            instances.state(instance, instance.state.with(InstanceState.Phase.LOADED));
        } catch (AgentException | RuntimeException e) {
            instances.undo(instance.name(), op);
            throw e;
        }
        reporter.last(new Report.Loaded(reporter.done(), instance.states()));
    }

    /**
     * Gives frames in flight, runs the VMs at the time, opens the gates. Needs: the checkpoint loaded here. On failure
     * the VMs stay as they are: the coordinator destroys the instance on every host.
     */
    void resume(Command.Resume command, Reporter reporter, CancelToken token) throws AgentException {
        Op op = Op.of(command);
        Instance instance = instances.known(command.header().instance());
        if (instance.state.phase() != InstanceState.Phase.LOADED
                || !command.checkpoint().equals(instance.loadedCheckpoint)) {
            throw new AgentException(
                    ErrorCode.INSTANCE_NOT_RUNNING,
                    "checkpoint " + command.checkpoint() + " is not loaded into " + instance.name(),
                    "restore again");
        }
        instances.requireAlive(instance);
        long injected = 0;
        for (Vm vm : instance.present()) {
            int nics = instance.layout.spec().vm(vm.name()).nics().size();
            for (int i = 0; i < nics; i++) {
                List<Frame> frames = instance.loaded.get(vm.name()).readFrames(i);
                if (!frames.isEmpty()) {
                    instance.network.inject(new NicId(vm.name(), i), frames);
                    injected += frames.size();
                }
            }
        }
        token.check();
        // From here an agent that starts finds VMs that may run.
        instances.state(instance, instance.state.with(InstanceState.Phase.RUNNING));
        long late = waitUntil(command.startAtMicros(), token);
        Duration limit = instances.settings.runLimit();
        try {
            Parallel.each(instance.present(), instance.placed.size(), vm -> vm.cont(limit));
        } finally {
            instance.network.openGates();
        }
        instance.loaded = Map.of();
        instance.loadedCheckpoint = null;
        instances.ports.images().unclaim(command.header().operation());
        LOG.infof("%s event=resumed injected=%d late-micros=%d", op, injected, late);
        instances.requireAlive(instance);
        reporter.last(new Report.Resumed(reporter.done(), instance.states(), injected));
    }

    /** Waits; returns by how many microseconds it is late. */
    private long waitUntil(long micros, CancelToken token) throws AgentException {
        long now = now();
        if (micros - now > Duration.ofSeconds(60).toNanos() / 1000) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT,
                    "the start time is more than 60 s ahead",
                    "check that the hosts' clocks are synchronised");
        }
        while (now < micros) {
            token.check();
            LockSupport.parkNanos(Math.min(50_000_000, (micros - now) * 1000));
            now = now();
        }
        return now - micros;
    }

    private long now() {
        return ChronoUnit.MICROS.between(Instant.EPOCH, clock.instant());
    }

    /** Removes everything of the instance. Needs nothing; done too when there is nothing. */
    void destroy(Command.Destroy command, Reporter reporter, CancelToken token) throws AgentException {
        instances.remove(command.header().instance(), Op.of(command));
        instances.ports.images().unclaim(command.header().operation());
        reporter.last(new Report.Destroyed(reporter.done()));
    }
}
