package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.agent.domain.InstanceNetwork;
import io.holdfast.agent.domain.NetworkFabric;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.event.VmState;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A host made of plain objects. It outlives the agents of a test, as VMs and networks outlive a real agent; failures are
 * asked for by name through {@link #failAt}.
 */
public final class Fakes {
    /** What happened, in order. */
    final List<String> log = new CopyOnWriteArrayList<>();

    final Set<String> failAt = new ConcurrentSkipListSet<>();
    /** A step of that name waits for its latch. */
    final Map<String, CountDownLatch> blockAt = new ConcurrentHashMap<>();

    /** Opens when a prepared cut is given up. */
    final CountDownLatch untilClosed = new CountDownLatch(1);

    final FaultPoints faults = FaultPoints.enabled(
            new FaultPoints.Powers() {
                @Override
                public void kill() {
                    throw new UnsupportedOperationException();
                }

                @Override
                public void arm(FaultPoint point, String action, long millis) {
                    throw new UnsupportedOperationException();
                }
            },
            null);

    final Set<String> blocked = new ConcurrentSkipListSet<>();
    public final Map<String, FakeVm> processes = new ConcurrentHashMap<>();
    final Set<String> networks = new ConcurrentSkipListSet<>();
    final Set<String> images = new ConcurrentSkipListSet<>();
    final Set<String> sealed = new ConcurrentSkipListSet<>();
    final Map<NicId, List<Frame>> inFlight = new ConcurrentHashMap<>();
    final List<Report> reports = new CopyOnWriteArrayList<>();
    final List<Heartbeat.Agent> heartbeats = new CopyOnWriteArrayList<>();
    private final AtomicInteger pids = new AtomicInteger(1000);

    void step(String name) throws AgentException {
        log.add(name);
        CountDownLatch latch = blockAt.get(name);
        if (latch != null) {
            blocked.add(name);
            try {
                latch.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        if (failAt.contains(name)) {
            throw new AgentException(ErrorCode.QEMU_FAILED, name + " failed as asked", "none");
        }
    }

    /** The ports to this host. */
    public Ports ports() {
        return new Ports(new Fabric(), new Engine(), new Hyper(), new Store(), faults);
    }

    Outbox outbox() {
        return new Outbox() {
            @Override
            public void report(Report report, String traceparent) {
                reports.add(report);
            }

            @Override
            public void heartbeat(Heartbeat.Agent heartbeat) {
                heartbeats.add(heartbeat);
            }
        };
    }

    /** A VM, whose process goes on when an agent lets go of it. */
    public final class FakeVm implements Vm {
        final String instance;
        final String name;
        final int pid;
        volatile String state;

        FakeVm(String instance, String name, String state) {
            this.instance = instance;
            this.name = name;
            this.state = state;
            this.pid = pids.incrementAndGet();
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public long pid() {
            return state.equals("dead") ? 0 : pid;
        }

        @Override
        public VmState state() {
            return new VmState(
                    name, state, pid(), "tcg", true, "10.0.2", state.equals("dead") ? "killed by the test" : null);
        }

        @Override
        public int tapFd(int nic) {
            return 10 + nic;
        }

        @Override
        public void beginStop() throws AgentException {
            step("stop " + name);
            state = "paused";
        }

        @Override
        public long awaitStopped(Duration limit) {
            return 1;
        }

        @Override
        public void beginCont() throws AgentException {
            step("cont " + name);
            state = "running";
        }

        @Override
        public long awaitRunning(Duration limit) {
            return 1;
        }

        @Override
        public Snapshot prepareSnapshot(Image image) throws AgentException {
            step("snapshot " + name);
            return new FakeSnapshot(name);
        }

        @Override
        public void load(Image image) throws AgentException {
            step("load " + name);
            if (state.equals("dead")) {
                throw new AgentException(ErrorCode.VM_DEAD, "killed while it loaded", "none");
            }
            state = "paused";
        }

        @Override
        public void kill() {
            log.add("kill " + name);
            state = "dead";
            CountDownLatch latch = blockAt.remove("load " + name);
            if (latch != null) {
                latch.countDown();
            }
        }

        @Override
        public void detach() {
            log.add("detach " + name);
        }
    }

    private final class FakeSnapshot implements Vm.Snapshot {
        private final String vm;
        private final CountDownLatch closed = new CountDownLatch(1);

        FakeSnapshot(String vm) {
            this.vm = vm;
        }

        @Override
        public void begin() {}

        @Override
        public long awaitArmed(Duration limit) {
            return 2;
        }

        @Override
        public void writeBehind() {}

        @Override
        public void awaitComplete(Duration limit) throws AgentException {
            if (blockAt.containsKey("complete " + vm)) {
                blocked.add("complete " + vm);
                try {
                    closed.await();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                throw new AgentException(ErrorCode.STREAM_BROKEN, "closed while it wrote", "none");
            }
            step("complete " + vm);
        }

        @Override
        public void close() {
            log.add("close " + vm);
            closed.countDown();
        }
    }

    private final class Hyper implements Hypervisor {
        @Override
        public Vm start(VmPlan plan, boolean incoming) throws AgentException {
            String name = plan.spec().name();
            step("start " + name);
            FakeVm vm = new FakeVm(plan.instance(), name, incoming ? "incoming" : "running");
            processes.put(plan.instance() + "/" + name, vm);
            return vm;
        }

        @Override
        public Vm adopt(VmPlan plan) throws AgentException {
            String name = plan.spec().name();
            step("adopt " + name);
            FakeVm vm = processes.get(plan.instance() + "/" + name);
            return vm == null ? new FakeVm(plan.instance(), name, "dead") : vm;
        }

        @Override
        public String version() {
            return "10.0.2";
        }

        @Override
        public AcceleratorChoice accelerator() {
            return new AcceleratorChoice("tcg", "fake");
        }
    }

    private final class Fabric implements NetworkFabric {
        @Override
        public InstanceNetwork build(NetworkPlan plan, boolean gatesClosed) throws AgentException {
            step("build " + (gatesClosed ? "closed" : "open"));
            networks.add(plan.instance());
            return new Network(plan);
        }

        @Override
        public InstanceNetwork adopt(NetworkPlan plan, Map<NicId, RemoteFd> tapOwners) throws AgentException {
            step("adopt-network " + tapOwners.size());
            return new Network(plan);
        }

        @Override
        public void remove(String instance) throws AgentException {
            step("remove-network");
            networks.remove(instance);
        }

        @Override
        public List<String> present() {
            return List.copyOf(networks);
        }
    }

    private final class Network implements InstanceNetwork {
        private final NetworkPlan plan;

        Network(NetworkPlan plan) {
            this.plan = plan;
        }

        @Override
        public NetworkPlan plan() {
            return plan;
        }

        @Override
        public int namespaceFd() {
            return 7;
        }

        @Override
        public int tapFd(NicId nic) {
            return 20 + nic.index();
        }

        @Override
        public void inject(NicId nic, List<Frame> frames) throws AgentException {
            step("inject " + nic.vm() + " " + frames.size());
        }

        @Override
        public void openGates() throws AgentException {
            step("open-gates");
        }

        @Override
        public void close() {
            log.add("close-network");
        }
    }

    private final class Engine implements CutEngine {
        @Override
        public Prepared prepare(InstanceNetwork network, List<Participant> vms, byte[] nonce, Duration limit)
                throws AgentException {
            step("engine-prepare");
            return new Prepared() {
                @Override
                public Result cut(long startAtMicros) throws AgentException {
                    step("cut");
                    List<CutFigures.VmCut> cuts = new ArrayList<>();
                    Map<NicId, List<Frame>> frames = new HashMap<>();
                    for (Participant p : vms) {
                        cuts.add(new CutFigures.VmCut(p.vm().name(), 1, 2, 3, 2, List.of()));
                        frames.put(new NicId(p.vm().name(), 0), List.of(new Frame(1, new byte[60])));
                    }
                    return new Result(new CutFigures.HostCut("h1", 1, 2, 3, 4, 5, 6, 7, 8, cuts, List.of()), frames);
                }

                @Override
                public void close() {
                    log.add("engine-close");
                    untilClosed.countDown();
                }
            };
        }
    }

    private final class Store implements ImageStore {
        @Override
        public Image create(String checkpoint, InstanceLayout layout, String vm) throws AgentException {
            step("image " + vm);
            images.add(checkpoint + "/" + vm);
            return new FakeImage(checkpoint, vm);
        }

        @Override
        public Image open(String checkpoint, String vm) throws AgentException {
            step("open " + vm);
            if (!sealed.contains(checkpoint + "/" + vm)) {
                throw new AgentException(ErrorCode.FILE_UNAVAILABLE, "no image of " + vm, "none");
            }
            return new FakeImage(checkpoint, vm);
        }

        @Override
        public long freeBytes() {
            return 1L << 40;
        }

        @Override
        public void delete(String checkpoint) throws AgentException {
            step("delete " + checkpoint);
            images.removeIf(i -> i.startsWith(checkpoint + "/"));
            sealed.removeIf(i -> i.startsWith(checkpoint + "/"));
        }

        @Override
        public List<String> prune(Keep keep, Set<String> here, Set<String> inUse, Instant now) {
            log.add("prune " + keep.newest() + " here " + here + " in use " + inUse);
            return List.of();
        }

        @Override
        public void unclaim(String operation) {
            log.add("unclaim " + operation);
        }

        @Override
        public List<String> present() {
            return List.copyOf(images);
        }

        @Override
        public void writeFigures(String checkpoint, CutFigures.HostCut figures) throws AgentException {
            step("figures");
        }
    }

    private final class FakeImage implements Image {
        private final String checkpoint;
        private final String vm;

        FakeImage(String checkpoint, String vm) {
            this.checkpoint = checkpoint;
            this.vm = vm;
        }

        @Override
        public String checkpoint() {
            return checkpoint;
        }

        @Override
        public String vm() {
            return vm;
        }

        @Override
        public Path folder() {
            return Path.of("/nowhere");
        }

        @Override
        public void writeFrames(int nic, String segment, List<Frame> frames) throws AgentException {
            step("frames " + vm + " " + segment);
            inFlight.put(new NicId(vm, nic), frames);
        }

        @Override
        public List<Frame> readFrames(int nic) {
            return inFlight.getOrDefault(new NicId(vm, nic), List.of());
        }

        @Override
        public VmImage seal() throws AgentException {
            step("seal " + vm);
            sealed.add(checkpoint + "/" + vm);
            return new VmImage(vm, 100, 10, List.of(), new VmImage.Capture(7, 0, 9, 0));
        }
    }
}
