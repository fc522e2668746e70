package io.holdfast.agent.app;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.NetworkFabric;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.domain.Vm;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jboss.logging.Logger;

/** The instances of this host, and what every work on them needs. Each instance is worked on by its own executor only. */
final class Instances {
    private static final Logger LOG = Logger.getLogger(Instances.class);
    final AgentSettings settings;
    final Ports ports;
    final InstanceFiles files;
    private final Map<String, Instance> all = new ConcurrentSkipListMap<>();

    Instances(AgentSettings settings, Ports ports) throws IOException {
        this.settings = settings;
        this.ports = ports;
        this.files = new InstanceFiles(settings.instancesDir());
    }

    /** Every instance, by name. */
    List<Instance> all() {
        return List.copyOf(all.values());
    }

    Optional<Instance> find(String name) {
        return Optional.ofNullable(all.get(name));
    }

    void put(Instance instance) {
        all.put(instance.name(), instance);
    }

    /**
     * The instance, whose VMs run.
     *
     * @throws AgentException UNKNOWN_INSTANCE or INSTANCE_NOT_RUNNING
     */
    Instance running(String name) throws AgentException {
        Instance instance = known(name);
        if (instance.state.phase() != InstanceState.Phase.RUNNING) {
            throw new AgentException(
                    ErrorCode.INSTANCE_NOT_RUNNING,
                    "instance " + name + " is "
                            + instance.state.phase().name().toLowerCase(java.util.Locale.ROOT) + " on host "
                            + settings.host(),
                    "wait until it runs");
        }
        return instance;
    }

    Instance known(String name) throws AgentException {
        Instance instance = all.get(name);
        if (instance == null) {
            throw new AgentException(
                    ErrorCode.UNKNOWN_INSTANCE,
                    "host " + settings.host() + " has nothing of instance " + name,
                    "see `holdfast list`");
        }
        return instance;
    }

    void state(Instance instance, InstanceState state) throws AgentException {
        files.writeState(instance.name(), state);
        instance.state = state;
    }

    /** The same where going on matters more than remembering: a full disk must not keep an instance from being removed. */
    private void stateQuietly(Instance instance, InstanceState state, Op op) {
        try {
            files.writeState(instance.name(), state);
        } catch (AgentException e) {
            LOG.warnf(e, "%s event=state-not-written", op);
        }
        instance.state = state;
    }

    /** Begins an instance: its layout and state are durable before anything is built. */
    Instance begin(InstanceLayout layout, long epoch) throws AgentException {
        if (all.containsKey(layout.instance())) {
            throw new AgentException(
                    ErrorCode.INSTANCE_EXISTS,
                    "instance " + layout.instance() + " is on host " + settings.host() + " already",
                    "destroy it first, or take another name");
        }
        Instance instance =
                new Instance(layout, settings.host(), InstanceState.of(InstanceState.Phase.BUILDING, epoch));
        try {
            files.create(layout, instance.state, instance.placed);
        } catch (AgentException e) {
            try {
                files.remove(layout.instance());
            } catch (AgentException again) {
                e.addSuppressed(again);
            }
            throw e;
        }
        all.put(layout.instance(), instance);
        return instance;
    }

    /** The local part of the network: segments that local VMs join, with the other hosts that have VMs on them. */
    NetworkPlan plan(InstanceLayout layout) throws AgentException {
        String host = settings.host();
        InstanceLayout.HostPart part = layout.part(host);
        List<NetworkPlan.NicPlan> nics = new ArrayList<>();
        Set<String> joined = new LinkedHashSet<>();
        for (String name : part.vms()) {
            List<NicSpec> specs = layout.spec().vm(name).nics();
            for (int i = 0; i < specs.size(); i++) {
                nics.add(new NetworkPlan.NicPlan(
                        new NicId(name, i), specs.get(i).segment(), specs.get(i).mac()));
                joined.add(specs.get(i).segment());
            }
        }
        List<NetworkPlan.SegmentPlan> segments = new ArrayList<>();
        for (SegmentSpec segment : layout.spec().segments()) {
            if (joined.remove(segment.name())) {
                Integer vni = layout.vnis().get(segment.name());
                if (vni == null) {
                    throw new AgentException(
                            ErrorCode.INVALID_EVENT,
                            "layout has no VXLAN id for segment " + segment.name(),
                            "see docs/protocol.md");
                }
                segments.add(
                        new NetworkPlan.SegmentPlan(segment.name(), mtu(segment), vni, peers(layout, segment.name())));
            }
        }
        if (!joined.isEmpty()) {
            throw new AgentException(
                    ErrorCode.INVALID_EVENT, "NICs join unknown segments " + joined, "name every segment in the spec");
        }
        return new NetworkPlan(layout.instance(), host, part.underlay(), segments, nics);
    }

    private List<NetworkPlan.Peer> peers(InstanceLayout layout, String segment) {
        return layout.hosts().stream()
                .filter(h -> !h.host().equals(settings.host()))
                .filter(h -> h.vms().stream().anyMatch(vm -> layout.spec().vm(vm).nics().stream()
                        .anyMatch(n -> n.segment().equals(segment))))
                .map(h -> new NetworkPlan.Peer(h.host(), h.underlay()))
                .toList();
    }

    private static int mtu(SegmentSpec segment) {
        return segment.mtu() == null ? SegmentSpec.DEFAULT_MTU : segment.mtu();
    }

    /** How to start or find a VM; TAP descriptors are -1 while the instance has no network. */
    Hypervisor.VmPlan vmPlan(Instance instance, String vm, Image fixed) {
        VmSpec spec = instance.layout.spec().vm(vm);
        List<Hypervisor.TapFd> taps = new ArrayList<>();
        for (int i = 0; i < spec.nics().size(); i++) {
            NicSpec nic = spec.nics().get(i);
            SegmentSpec segment = instance.layout.spec().segments().stream()
                    .filter(s -> s.name().equals(nic.segment()))
                    .findFirst()
                    .orElseThrow();
            int fd = instance.network == null ? -1 : instance.network.tapFd(new NicId(vm, i));
            taps.add(new Hypervisor.TapFd(fd, nic.mac(), mtu(segment)));
        }
        return new Hypervisor.VmPlan(
                instance.name(),
                spec,
                files.vmFolder(instance.name(), vm),
                instance.network == null ? -1 : instance.network.namespaceFd(),
                taps,
                fixed);
    }

    /** Where live VMs hold their TAPs. */
    static Map<NicId, NetworkFabric.RemoteFd> tapOwners(Instance instance) {
        Map<NicId, NetworkFabric.RemoteFd> owners = new HashMap<>();
        for (Vm vm : instance.present()) {
            if (alive(vm)) {
                int nics = instance.layout.spec().vm(vm.name()).nics().size();
                for (int i = 0; i < nics; i++) {
                    int fd = vm.tapFd(i);
                    if (fd >= 0) {
                        owners.put(new NicId(vm.name(), i), new NetworkFabric.RemoteFd(vm.pid(), fd));
                    }
                }
            }
        }
        return owners;
    }

    static boolean alive(Vm vm) {
        return !"dead".equals(vm.state().state());
    }

    /** Refuses when a VM is missing or dead. */
    void requireAlive(Instance instance) throws AgentException {
        for (String name : instance.placed) {
            Vm vm = instance.vms.get(name);
            if (vm == null || !alive(vm)) {
                String reason = vm == null
                        ? "it was never started"
                        : String.valueOf(vm.state().reason());
                throw new AgentException(
                        ErrorCode.VM_DEAD,
                        "VM " + name + " of " + instance.name() + " on host " + settings.host() + " is dead: " + reason,
                        "restore the instance from a checkpoint, or destroy it");
            }
        }
    }

    /** Removes archived images that need not stay. Any thread. */
    void pruneImages(Instant now) {
        Set<String> names = new HashSet<>();
        Set<String> inUse = new HashSet<>();
        for (Instance i : all()) {
            names.add(i.name());
            if (i.loadedCheckpoint != null) {
                inUse.add(i.loadedCheckpoint);
            }
        }
        List<String> removed = ports.images().prune(settings.keep(), names, inUse, now);
        if (!removed.isEmpty()) {
            LOG.infof("event=images-pruned host=%s checkpoints=%s", settings.host(), removed);
        }
    }

    /** Whatever happened: VMs of a running instance that stand still run again. Returns the VMs that stood still. */
    List<String> makeSafe(Instance instance, Op op) {
        List<String> found = new CopyOnWriteArrayList<>();
        try {
            // Side by side: one that does not answer keeps no other standing.
            Parallel.each(instance.present(), Math.max(1, instance.present().size()), vm -> {
                if (makeSafe(instance, vm, op)) {
                    found.add(vm.name());
                }
            });
        } catch (AgentException e) {
            LOG.errorf(e, "%s event=vms-not-made-safe", op);
        }
        return found;
    }

    /** The same for one VM; whether it stood still. */
    boolean makeSafe(Instance instance, Vm vm, Op op) {
        if (instance.state.phase() != InstanceState.Phase.RUNNING
                || !"paused".equals(vm.state().state())) {
            return false;
        }
        try {
            vm.cont(settings.runLimit());
            LOG.warnf("%s event=vm-run-again vm=%s msg=\"found paused\"", op, vm.name());
        } catch (AgentException | RuntimeException e) {
            LOG.errorf(e, "%s event=vm-not-run-again vm=%s", op, vm.name());
        }
        return true;
    }

    /** Gives up the checkpoint in work, if any: snapshots closed, images removed, VMs run. Idempotent. */
    void release(Instance instance, Op op) throws AgentException {
        Instance.OpenCheckpoint open = instance.checkpoint;
        instance.checkpoint = null;
        if (open != null) {
            quietly(op, "cut", open.prepared::close);
            open.participants.forEach(p -> quietly(
                    op, "snapshot of " + p.vm().name(), () -> p.snapshot().close()));
            LOG.infof("%s event=checkpoint-released checkpoint=%s", op, open.id);
        }
        makeSafe(instance, op);
        for (String checkpoint : instance.state.checkpoints()) {
            ports.images().delete(checkpoint);
        }
        if (!instance.state.checkpoints().isEmpty()) {
            stateQuietly(instance, instance.state.withCheckpoints(List.of()), op);
        }
    }

    static void quietly(Op op, String what, Runnable close) {
        try {
            close.run();
        } catch (RuntimeException e) {
            LOG.warnf(e, "%s event=close-failed what=\"%s\"", op, what);
        }
    }

    /**
     * Removes an instance's part: VMs killed, network and folder removed. Idempotent; when it fails, a repeat goes on
     * where it stopped.
     */
    void remove(String name, Op op) throws AgentException {
        Instance instance = all.get(name);
        if (instance != null) {
            release(instance, op);
            stateQuietly(instance, instance.state.with(InstanceState.Phase.REMOVING), op);
            for (String vmName : instance.placed) {
                Vm vm = instance.vms.get(vmName);
                if (vm == null) {
                    // Started by an earlier agent, or by a start that failed half-way.
                    vm = ports.hypervisor().adopt(vmPlan(instance, vmName, null));
                }
                vm.kill();
                instance.vms.put(vmName, vm);
            }
            if (instance.network != null) {
                quietly(op, "network", instance.network::close);
                instance.network = null;
            }
        }
        ports.fabric().remove(name);
        files.remove(name);
        all.remove(name);
        LOG.infof("%s event=instance-removed known=%s", op, instance != null);
    }

    /** Removes what a failed build left; a second failure is logged, the removal goes on at the next destroy or start. */
    void undo(String name, Op op) {
        try {
            remove(name, op);
        } catch (AgentException | RuntimeException e) {
            LOG.errorf(e, "%s event=undo-failed", op);
        }
    }

    /** Lets go of descriptors; VMs run on. */
    void detachAll() {
        for (Instance instance : all()) {
            Op op = Op.own(instance.name(), settings.host(), "stop");
            instance.present().forEach(vm -> quietly(op, vm.name(), vm::detach));
            if (instance.network != null) {
                quietly(op, "network", instance.network::close);
            }
        }
    }
}
