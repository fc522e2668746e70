package io.holdfast.agent.cut;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.CutEngine.Participant;
import io.holdfast.agent.domain.CutEngine.Prepared;
import io.holdfast.agent.domain.CutEngine.Result;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.NetworkPlan.NicPlan;
import io.holdfast.agent.domain.NetworkPlan.SegmentPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.nat.NativeException;
import io.holdfast.agent.net.Cookie;
import io.holdfast.agent.net.Gate;
import io.holdfast.agent.net.HostNetwork;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.CutFigures.Step;
import io.holdfast.schemas.event.ErrorCode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import org.jboss.logging.Logger;

/**
 * One host's part of one cut, used once:
 *
 * <ol type="a">
 *   <li>close the gates; wait until QEMU has read every frame that passed;
 *   <li>stop the VMs; say <em>stopped</em> on every segment; begin the snapshots: a stopped VM behind a closed gate does not change;
 *   <li>meanwhile collect held frames until every peer has said stopped to every NIC, and for the settle time;
 *   <li>wait until all snapshots are armed; what has come meanwhile is in flight too, because nobody who shares a segment
 *       with us runs before we say captured;
 *   <li>say <em>captured</em>; once every peer has, run the VMs, give held frames back, open the gates.
 * </ol>
 *
 * <p>Runs on a thread of its own; nothing between b and e needs a disk, a broker or another lock. When anything fails or the limit is
 * reached the VMs run again, frames are given back, gates open, peers are told (<em>failed</em>), and the reason is thrown.
 */
final class PreparedCut implements Prepared {
    private static final Logger LOG = Logger.getLogger(PreparedCut.class);
    private static final long REPEAT_NANOS = 5_000_000;
    private static final int REPEATS_AFTER = 5;
    private static final long SPIN_NANOS = 200_000;
    /** For a VM to run again after a failure, whatever the limit says. */
    private static final Duration RESCUE = Duration.ofSeconds(5);
    /** How long prepare looks at a NIC that has frames waiting. */
    private static final long ASLEEP_MICROS = 300_000;

    private final HostNetwork network;
    private final byte[] nonce;
    private final Duration limit;
    private final Duration settle;
    private final FaultPoints faults;
    private final List<VmPart> vms = new ArrayList<>();
    private final List<NicPart> nics = new ArrayList<>();
    private final Map<String, SegmentPart> segments = new LinkedHashMap<>();
    private final Trace trace;
    private final int[] holdFds;
    private final int[] holdEvents;

    private Cookie.Kind saying;
    private int cookieNumber;
    private long lastSaid;
    private boolean answerNow;
    private String failedPeer;
    private boolean used;
    private volatile boolean closed;

    /** A VM, and what the figures need. */
    private static final class VmPart {
        final Participant participant;
        final List<NicPart> nics = new ArrayList<>();
        long stopBegan;
        long stoppedAt;
        long armedAt;
        long ranAt;
        long pauseMicros;
        boolean stopping;

        VmPart(Participant participant) {
            this.participant = participant;
        }

        String name() {
            return participant.vm().name();
        }
    }

    /** A NIC, what came for it and who has said stopped to it. */
    private static final class NicPart {
        final NicId id;
        final Gate gate;
        final SegmentPart segment;
        final List<Frame> held = new ArrayList<>(256);
        final Set<String> stopped = new HashSet<>();
        final long overflowBefore;
        boolean asleep;
        int inFlight;
        Gate.Ledger ledger;

        NicPart(NicId id, Gate gate, SegmentPart segment) throws NativeException {
            this.id = id;
            this.gate = gate;
            this.segment = segment;
            this.overflowBefore = gate.overflow();
        }
    }

    /** A segment and who has said captured on it. */
    private static final class SegmentPart {
        final String name;
        final Set<String> members = new HashSet<>();
        final Set<String> captured = new HashSet<>();

        SegmentPart(SegmentPlan plan, String host) {
            this.name = plan.name();
            members.add(host);
            plan.peers().forEach(p -> members.add(p.host()));
        }
    }

    PreparedCut(
            HostNetwork network,
            List<Participant> participants,
            byte[] nonce,
            Duration limit,
            Duration settle,
            FaultPoints faults)
            throws AgentException {
        this.faults = faults;
        this.network = network;
        this.nonce = nonce;
        this.limit = limit;
        this.settle = settle;
        var plan = network.plan();
        network.gateLock().lock();
        try {
            var byVm = new LinkedHashMap<String, VmPart>();
            for (var p : participants) {
                var part = new VmPart(p);
                vms.add(part);
                byVm.put(part.name(), part);
            }
            for (SegmentPlan s : plan.segments()) {
                segments.put(s.name(), new SegmentPart(s, plan.host()));
            }
            for (NicPlan n : plan.nics()) {
                var gate = network.gate(n.id());
                gate.expect(nonce);
                var vm = byVm.get(n.id().vm());
                if (vm != null) {
                    var nic = new NicPart(n.id(), gate, segments.get(n.segment()));
                    gate.lookAsleep(ASLEEP_MICROS);
                    nics.add(nic);
                    vm.nics.add(nic);
                }
            }
            holdFds = nics.stream().mapToInt(n -> n.gate.holdFd()).toArray();
            holdEvents = new int[holdFds.length];
            trace = new Trace(vms.size(), plan.segments());
            warmUp();
        } catch (NativeException e) {
            throw networkFailed(e);
        } finally {
            network.gateLock().unlock();
        }
    }

    /** Loads and links what the cut runs, so that none of it is done while VMs stand still. */
    private void warmUp() throws NativeException {
        byte[] frame = new Cookie(Cookie.Kind.STOPPED, 0, network.plan().host()).encode(nonce);
        byte[] held = new byte[Frame.VNET_HEADER + frame.length];
        System.arraycopy(frame, 0, held, Frame.VNET_HEADER, frame.length);
        if (!Cookie.is(held, Frame.VNET_HEADER, nonce)
                || Cookie.decode(held, Frame.VNET_HEADER).isEmpty()) {
            throw new IllegalStateException("cookies cannot be read back");
        }
        long bad = Native.lib().hf_packet_send(-1, frame, frame.length);
        for (var n : nics) {
            boolean delivered =
                    n.gate.delivered() && n.gate.allRead() && n.gate.ledger().exact();
            LOG.tracef("gate=%s delivered=%s %d", n.gate.name(), delivered, bad);
        }
        waitForFrames(System.nanoTime());
    }

    @Override
    public Result cut(long startAtMicros) throws AgentException {
        synchronized (this) {
            if (used) {
                throw new AgentException(ErrorCode.INTERNAL, "this cut is used up", "prepare another");
            }
            if (closed) {
                throw new AgentException(ErrorCode.ABORTED, "the cut was given up before it began", "");
            }
            used = true;
        }
        var done = new CompletableFuture<Result>();
        var thread = new Thread(
                () -> {
                    try {
                        done.complete(run(startAtMicros));
                    } catch (AgentException | RuntimeException | Error e) {
                        done.completeExceptionally(e);
                    }
                },
                "cut-" + network.plan().instance());
        thread.setDaemon(true);
        thread.start();
        boolean interrupted = false;
        try {
            for (; ; ) {
                try {
                    return done.get();
                } catch (InterruptedException e) {
                    interrupted = true; // the cut's own limit ends it, and it must be seen through
                }
            }
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case AgentException x -> throw x;
                case RuntimeException x -> throw x;
                case Error x -> throw x;
                default -> throw new IllegalStateException(e.getCause());
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private Result run(long startAtMicros) throws AgentException {
        Native.hurry();
        network.gateLock().lock();
        try {
            await(startAtMicros);
            return cutNow(startAtMicros);
        } finally {
            network.gateLock().unlock();
        }
    }

    private void await(long startAtMicros) throws AgentException {
        long late = Native.micros() - startAtMicros;
        if (late > 0) {
            sayQuietly(Cookie.Kind.FAILED);
            throw new AgentException(
                    ErrorCode.TOO_LATE,
                    "the cut was to begin " + late + " µs before the host was ready for it",
                    "give a longer lead (holdfast.coordinator.cut-lead), check that the hosts' clocks are synchronised");
        }
        for (; ; ) {
            long left = (startAtMicros - Native.micros()) * 1000;
            if (left <= 0) {
                return;
            }
            if (closed) {
                sayQuietly(Cookie.Kind.FAILED);
                throw new AgentException(ErrorCode.ABORTED, "the cut was given up before it began", "");
            }
            if (left > SPIN_NANOS) {
                LockSupport.parkNanos(Math.min(left - SPIN_NANOS, 50_000_000));
            } else {
                Thread.onSpinWait();
            }
        }
    }

    private Result cutNow(long startMicros) throws AgentException {
        long deadline = System.nanoTime() + limit.toNanos();
        boolean snapshots = false;
        try {
            checkAlive();
            // a
            faults.reach(FaultPoint.CUT_GATES_CLOSING);
            for (var n : nics) {
                n.gate.shut();
                faults.reach(FaultPoint.CUT_GATE_CLOSED);
            }
            faults.reach(FaultPoint.CUT_GATES_CLOSED);
            long gatesClosed = trace.add(Step.gates_closed);
            awaitDelivered(deadline);
            long delivered = trace.add(Step.delivered);
            faults.reach(FaultPoint.CUT_DRAINED);
            // b
            for (var v : vms) {
                v.stopBegan = System.nanoTime();
                v.stopping = true;
                v.participant.vm().beginStop();
                trace.add(Step.stop_sent, v.name());
                faults.reach(FaultPoint.CUT_STOP_SENT);
            }
            for (var v : vms) {
                v.stoppedAt = v.participant.vm().awaitStopped(left(deadline));
                trace.add(v.stoppedAt, Step.stopped, v.name());
            }
            faults.reach(FaultPoint.CUT_ALL_STOPPED);
            say(Cookie.Kind.STOPPED);
            trace.add(Step.stopped_said);
            faults.reach(FaultPoint.CUT_STOPPED_SAID);
            // d begins: what a VM is does not change any more, while c goes on what is on the way to it is collected
            snapshots = true;
            for (var v : vms) {
                v.participant.snapshot().begin();
                trace.add(Step.snapshot_begun, v.name());
                faults.reach(FaultPoint.CUT_SNAPSHOT_BEGUN);
            }
            long stopped = Native.micros();
            salvage();
            // c
            awaitStoppedCookies(deadline);
            long settled = System.nanoTime() + settle.toNanos();
            while (System.nanoTime() < settled) {
                waitForFrames(settled);
                drain();
            }
            long channels = trace.add(Step.channels);
            faults.reach(FaultPoint.CUT_CHANNELS);
            // d
            for (var v : vms) {
                v.armedAt = v.participant.snapshot().awaitArmed(left(deadline));
                trace.add(v.armedAt, Step.armed, v.name());
            }
            faults.reach(FaultPoint.CUT_ARMED);
            closeLedger(deadline);
            long armed = Native.micros();
            // e
            say(Cookie.Kind.CAPTURED);
            trace.add(Step.captured_said);
            faults.reach(FaultPoint.CUT_CAPTURED_SAID);
            awaitCapturedCookies(deadline);
            long captured = Native.micros();
            faults.reach(FaultPoint.CUT_CAPTURED_HEARD);
            for (var v : vms) {
                v.participant.vm().beginCont();
                trace.add(Step.cont_sent, v.name());
                faults.reach(FaultPoint.CUT_CONT_SENT);
            }
            for (var v : vms) {
                v.ranAt = v.participant.vm().awaitRunning(left(deadline));
                v.pauseMicros = (System.nanoTime() - v.stopBegan) / 1000;
                trace.add(v.ranAt, Step.running, v.name());
                v.stopping = false;
            }
            vms.forEach(v -> v.participant.snapshot().writeBehind());
            long running = Native.micros();
            faults.reach(FaultPoint.CUT_ALL_RUNNING);
            var frames = framesInFlight();
            openGates(nics);
            trace.add(Step.gates_open);
            faults.reach(FaultPoint.CUT_GATES_OPEN);
            sayOnForAWhile();
            var figures = new CutFigures.HostCut(
                    network.plan().host(),
                    startMicros,
                    gatesClosed,
                    delivered,
                    stopped,
                    channels,
                    armed,
                    captured,
                    running,
                    vms.stream().map(PreparedCut::figures).toList(),
                    trace.steps());
            return new Result(figures, frames);
        } catch (NativeException e) {
            var x = networkFailed(e);
            rescue(snapshots, x);
            throw x;
        } catch (AgentException | RuntimeException | Error e) {
            rescue(snapshots, e);
            throw e;
        }
    }

    private static CutFigures.VmCut figures(VmPart v) {
        return new CutFigures.VmCut(
                v.name(),
                v.stoppedAt,
                v.armedAt,
                v.ranAt,
                v.pauseMicros,
                v.nics.stream()
                        .map(n -> new CutFigures.NicLedger(
                                n.id.index(),
                                n.segment.name,
                                n.ledger.entered(),
                                n.ledger.delivered(),
                                n.ledger.held(),
                                n.ledger.dropped(),
                                n.ledger.cookies()))
                        .toList());
    }

    private void checkAlive() throws AgentException {
        for (var v : vms) {
            if (v.participant.vm().state().state().equals("dead")) {
                throw new AgentException(
                        ErrorCode.VM_DEAD, "VM " + v.name() + " has ended", "restore the instance from a checkpoint");
            }
        }
    }

    // a

    private void awaitDelivered(long deadline) throws NativeException, AgentException {
        long spinUntil = System.nanoTime() + SPIN_NANOS;
        for (var n : nics) {
            while (!n.gate.delivered()) {
                if (closed) {
                    throw new AgentException(ErrorCode.ABORTED, "the cut was given up", "");
                }
                if (System.nanoTime() > deadline) {
                    checkAlive();
                    throw new AgentException(
                            ErrorCode.FRAMES_UNDELIVERED,
                            "VM " + n.id.vm() + " has not taken the frames of its NIC " + n.id.index() + " within "
                                    + limit.toMillis() + " ms",
                            "the guest is overloaded; try again, or give the cut a longer limit");
                }
                if (System.nanoTime() > spinUntil) {
                    LockSupport.parkNanos(20_000);
                }
            }
            n.asleep = n.gate.asleep();
        }
    }

    /** Frames that a NIC whose guest takes none has left in its TAP belong to the checkpoint, in front of the held ones. */
    private void salvage() throws NativeException, AgentException {
        for (var n : nics) {
            if (!n.asleep) {
                continue;
            }
            if (n.gate.asleep()) {
                n.held.addAll(n.gate.salvage());
            } else if (!n.gate.delivered()) {
                throw new AgentException(
                        ErrorCode.FRAMES_UNDELIVERED,
                        "NIC " + n.id.index() + " of VM " + n.id.vm() + " came up during the cut",
                        "try again");
            }
        }
    }

    // c, e

    private void awaitStoppedCookies(long deadline) throws NativeException, AgentException {
        for (; ; ) {
            drain();
            String missing = null;
            for (var n : nics) {
                if (!n.stopped.containsAll(n.segment.members)) {
                    missing = missing(n.segment, n.stopped, "stopped");
                }
            }
            if (missing == null) {
                return;
            }
            next(deadline, missing);
        }
    }

    private void awaitCapturedCookies(long deadline) throws NativeException, AgentException {
        for (; ; ) {
            String missing = null;
            for (var s : segments.values()) {
                boolean used = nics.stream().anyMatch(n -> n.segment == s);
                if (used && !s.captured.containsAll(s.members)) {
                    missing = missing(s, s.captured, "captured");
                }
            }
            if (missing == null) {
                return;
            }
            next(deadline, missing);
            drain();
        }
    }

    private static String missing(SegmentPart segment, Set<String> have, String kind) {
        var hosts = new ArrayList<>(segment.members);
        hosts.removeAll(have);
        hosts.sort(null);
        return kind + " from host " + String.join(", ", hosts) + " on segment " + segment.name;
    }

    /** Waits for frames, repeats cookies, and gives up at the deadline or when a peer has. */
    private void next(long deadline, String missing) throws NativeException, AgentException {
        if (failedPeer != null) {
            throw new AgentException(
                    ErrorCode.ABORTED, "host " + failedPeer + " has given the cut up", "see that host's report");
        }
        long now = System.nanoTime();
        if (now > deadline) {
            for (var n : nics) {
                checkOverflow(n);
            }
            throw new AgentException(
                    ErrorCode.COOKIE_MISSING,
                    "no cookie " + missing + " within " + limit.toMillis() + " ms",
                    "check that the host's agent runs and that VXLAN passes between the hosts");
        }
        if (closed) {
            throw new AgentException(ErrorCode.ABORTED, "the cut was given up", "");
        }
        if (answerNow || now - lastSaid > REPEAT_NANOS) {
            say(saying);
        }
        waitForFrames(Math.min(deadline, lastSaid + REPEAT_NANOS));
    }

    private void waitForFrames(long untilNanos) throws NativeException {
        java.util.Arrays.fill(holdEvents, Native.POLLIN);
        long micros = Math.max(0, (untilNanos - System.nanoTime()) / 1000);
        Native.poll(holdFds, holdEvents, Math.min(micros, 5_000));
    }

    /** Reads every hold TAP. */
    private void drain() throws NativeException, AgentException {
        for (var n : nics) {
            n.gate.read(data -> {
                if (Cookie.is(data, Frame.VNET_HEADER, nonce)) {
                    Cookie.decode(data, Frame.VNET_HEADER).ifPresent(c -> heard(n, c));
                    return true;
                }
                n.held.add(new Frame(Native.micros(), data));
                return false;
            });
        }
    }

    private void heard(NicPart nic, Cookie cookie) {
        if (!nic.segment.members.contains(cookie.host())) {
            return;
        }
        boolean own = cookie.host().equals(network.plan().host());
        switch (cookie.kind()) {
            case STOPPED -> {
                if (nic.stopped.add(cookie.host())) {
                    trace.add(Step.stopped_heard, nic.id.vm(), nic.segment.name, cookie.host());
                    answerNow |= !own;
                }
            }
            case CAPTURED -> {
                nic.stopped.add(cookie.host());
                if (nic.segment.captured.add(cookie.host())) {
                    trace.add(Step.captured_heard, nic.id.vm(), nic.segment.name, cookie.host());
                }
            }
            case FAILED -> {
                if (!own) {
                    failedPeer = cookie.host();
                }
            }
        }
    }

    /** The moment up to which frames are in flight: everything diverted is read, the ledger adds up, and all it holds is kept. */
    private void closeLedger(long deadline) throws NativeException, AgentException {
        for (var n : nics) {
            for (; ; ) {
                drain();
                checkOverflow(n);
                if (n.gate.allRead()) {
                    n.ledger = n.gate.ledger();
                    if (accounted(n.ledger, n.held.size())) {
                        break;
                    }
                }
                if (System.nanoTime() > deadline) {
                    throw unaccounted(n.gate.name(), n.gate.ledger(), n.held.size());
                }
            }
            n.inFlight = n.held.size();
        }
    }

    /** Whether every frame that entered a gate is accounted for, and those that it held are the ones kept for the image. */
    static boolean accounted(Gate.Ledger ledger, int kept) {
        return ledger.exact() && ledger.held() == kept;
    }

    static AgentException unaccounted(String gate, Gate.Ledger ledger, int kept) {
        return new AgentException(
                ErrorCode.INTERNAL,
                "the frame ledger of " + gate + " does not add up: " + ledger + ", " + kept
                        + " frames kept for the image",
                "report this");
    }

    private static void checkOverflow(NicPart n) throws NativeException, AgentException {
        long lost = n.gate.overflow() - n.overflowBefore;
        if (lost > 0) {
            throw new AgentException(
                    ErrorCode.HOLD_OVERFLOW,
                    "more frames were in flight to NIC " + n.id.index() + " of VM " + n.id.vm()
                            + " than its gate can hold (" + n.held.size() + " held, " + lost + " lost)",
                    "try again when there is less traffic");
        }
    }

    private Map<NicId, List<Frame>> framesInFlight() {
        var frames = new LinkedHashMap<NicId, List<Frame>>();
        nics.forEach(n -> frames.put(n.id, List.copyOf(n.held.subList(0, n.inFlight))));
        return frames;
    }

    private void say(Cookie.Kind kind) throws NativeException {
        saying = kind;
        answerNow = false;
        lastSaid = System.nanoTime();
        byte[] frame = new Cookie(kind, cookieNumber++, network.plan().host()).encode(nonce);
        for (var s : segments.keySet()) {
            network.send(s, frame);
        }
    }

    private void sayQuietly(Cookie.Kind kind) {
        try {
            say(kind);
        } catch (NativeException e) {
            LOG.debugf("instance=%s cookie not sent: %s", network.plan().instance(), e.getMessage());
        }
    }

    /** Peers that missed our last cookie still wait for it. */
    private void sayOnForAWhile() {
        if (segments.values().stream().allMatch(s -> s.members.size() == 1)) {
            return;
        }
        Thread.ofVirtual().name("cut-cookies-" + network.plan().instance()).start(() -> {
            for (int i = 0; i < REPEATS_AFTER; i++) {
                LockSupport.parkNanos(REPEAT_NANOS);
                sayQuietly(Cookie.Kind.CAPTURED);
            }
        });
    }

    private static Duration left(long deadline) {
        return Duration.ofNanos(Math.max(1_000_000, deadline - System.nanoTime()));
    }

    /** Every VM runs again, every frame is given back, every gate is open, whatever else fails. */
    private void rescue(boolean snapshots, Throwable cause) {
        sayQuietly(Cookie.Kind.FAILED); // peers need not wait for our VMs
        quietly(cause, this::drain);
        // Side by side: a VM that does not answer keeps neither another one nor its frames waiting.
        try (var each = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var v : vms) {
                each.execute(() -> {
                    if (v.stopping) {
                        quietly(cause, () -> v.participant.vm().cont(RESCUE));
                    }
                    quietly(cause, () -> openGates(v.nics));
                });
            }
        }
        if (snapshots) {
            for (var v : vms) {
                quietly(cause, v.participant.snapshot()::close);
            }
        }
    }

    /** What must not keep the rest from being done. */
    @FunctionalInterface
    private interface Try {
        void run() throws Exception;
    }

    private static void quietly(Throwable cause, Try what) {
        try {
            what.run();
        } catch (Exception e) {
            cause.addSuppressed(e);
        }
    }

    private void openGates(List<NicPart> these) throws NativeException, AgentException {
        NativeException first = null;
        for (var n : these) {
            try {
                n.gate.open(n.held);
            } catch (NativeException e) {
                first = first == null ? e : first;
            }
            n.held.clear();
            faults.reach(FaultPoint.CUT_GIVING_BACK);
        }
        if (first != null) {
            throw first;
        }
    }

    private static AgentException networkFailed(NativeException e) {
        return new AgentException(
                ErrorCode.NETWORK_FAILED, "the cut's gates failed: " + e.getMessage(), "see the agent's log", e);
    }

    /** Gives up a cut that has not ended. */
    @Override
    public void close() {
        closed = true;
    }
}
