package io.holdfast.agent.cut;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NetworkPlan.NicPlan;
import io.holdfast.agent.domain.NetworkPlan.Peer;
import io.holdfast.agent.domain.NetworkPlan.SegmentPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.domain.Vm;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.net.HostNetwork;
import io.holdfast.agent.net.TestHosts;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.VmState;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Cuts over two real networks joined by VXLAN; the VMs are {@link FakeVm}s that send to each other all the time. */
class CutIT {
    /** Long enough for a machine that has much else to do. */
    private static final long LEAD_MICROS = 300_000;

    private static final FaultPoints.Powers NO_POWERS = new FaultPoints.Powers() {
        @Override
        public void kill() {
            throw new UnsupportedOperationException();
        }

        @Override
        public void arm(FaultPoint point, String action, long millis) {
            throw new UnsupportedOperationException();
        }
    };

    private static final NicId A = new NicId("a", 0);
    private static final NicId B = new NicId("b", 0);
    private final GateCutEngine engine = new GateCutEngine(GateCutEngine.DEFAULT_SETTLE);
    private final FaultPoints faults = FaultPoints.enabled(NO_POWERS, null);
    private final GateCutEngine faulty = new GateCutEngine(GateCutEngine.DEFAULT_SETTLE, faults);
    private TestHosts hosts;
    private HostNetwork netA;
    private HostNetwork netB;
    private FakeVm a;
    private FakeVm b;

    @BeforeEach
    void build() throws Exception {
        TestHosts.assumePossible();
        hosts = new TestHosts(2);
        netA = hosts.build(0, hosts.plan("cuts", 0, 7002, "a"));
        netB = hosts.build(1, hosts.plan("cuts", 1, 7002, "b"));
        a = new FakeVm("a", netA.tapFd(A), 1, 2);
        b = new FakeVm("b", netB.tapFd(B), 2, 1);
        awaitTraffic();
    }

    @AfterEach
    void remove() throws Exception {
        if (a != null) {
            a.shutDown();
        }
        if (b != null) {
            b.shutDown();
        }
        if (hosts != null) {
            hosts.close();
        }
    }

    private void awaitTraffic() {
        long fromA = b.expected;
        long fromB = a.expected;
        long limit = System.nanoTime() + 10_000_000_000L;
        while (b.expected < fromA + 20 || a.expected < fromB + 20) {
            assertThat(System.nanoTime())
                    .as("traffic flows; %s, %s", a.trouble, b.trouble)
                    .isLessThan(limit);
            LockSupport.parkNanos(1_000_000);
        }
    }

    private CutEngine.Prepared prepare(HostNetwork net, FakeVm vm, byte[] nonce, int limitMillis) throws Exception {
        return engine.prepare(net, List.of(new CutEngine.Participant(vm, vm)), nonce, Duration.ofMillis(limitMillis));
    }

    private static byte[] nonce() {
        byte[] nonce = new byte[16];
        new SecureRandom().nextBytes(nonce);
        return nonce;
    }

    private static List<Long> numbers(List<Frame> frames) {
        return frames.stream()
                .map(f -> TestHosts.number(ByteBuffer.wrap(f.data())))
                .toList();
    }

    /** What the sender had sent and the receiver not received is in flight, exactly and in order. */
    private static void assertConsistent(FakeVm from, FakeVm to, List<Frame> inFlight) {
        var expected = new ArrayList<Long>();
        for (long i = to.savedExpected; i < from.savedNext; i++) {
            expected.add(i);
        }
        assertThat(numbers(inFlight)).isEqualTo(expected);
    }

    @Test
    void cutsOfTwoHostsAreConsistentAndTrafficGoesOn() throws Exception {
        int inFlight = 0;
        long pause = 0;
        try (var pool = Executors.newFixedThreadPool(2)) {
            for (int i = 0; i < 20; i++) {
                // Given
                byte[] nonce = nonce();
                try (var cutA = prepare(netA, a, nonce, 5000);
                        var cutB = prepare(netB, b, nonce, 5000)) {
                    long start = Native.micros() + LEAD_MICROS;
                    // When
                    var first = pool.submit(() -> cutA.cut(start));
                    var second = pool.submit(() -> cutB.cut(start + 2000));
                    var atA = first.get();
                    var atB = second.get();
                    // Then
                    assertConsistent(a, b, atB.frames().get(B));
                    assertConsistent(b, a, atA.frames().get(A));
                    for (var figures : List.of(atA.figures(), atB.figures())) {
                        var nic = figures.vms().getFirst().nics().getFirst();
                        assertThat(nic.entered()).isEqualTo(nic.delivered() + nic.held() + nic.dropped());
                        assertThat(nic.cookies()).isPositive();
                        assertThat(nic.dropped()).isZero();
                        assertThat(figures.startMicros()).isLessThanOrEqualTo(figures.gatesClosedMicros());
                        assertThat(figures.armedMicros()).isLessThanOrEqualTo(figures.capturedMicros());
                        pause = Math.max(pause, figures.vms().getFirst().pauseMicros());
                        inFlight += (int) nic.held();
                    }
                    assertThat(atA.figures().runningMicros())
                            .as("nobody runs before everybody has captured")
                            .isGreaterThanOrEqualTo(atB.figures().armedMicros());
                    assertThat(atB.figures().runningMicros())
                            .isGreaterThanOrEqualTo(atA.figures().armedMicros());
                }
                awaitTraffic();
            }
        }
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
        System.out.println("CutIT: 20 cuts, " + inFlight + " frames in flight, longest pause " + pause + " µs");
    }

    @Test
    void missingPeerFailsTheCutWithinItsLimitAndEverythingRuns() throws Exception {
        // Given: the peer is prepared but its cut never comes
        byte[] nonce = nonce();
        try (var cut = prepare(netA, a, nonce, 300);
                var silent = prepare(netB, b, nonce, 300)) {
            assertThat(silent).isNotNull();
            long begin = System.nanoTime();
            // When
            assertThatThrownBy(() -> cut.cut(Native.micros() + LEAD_MICROS))
                    .isInstanceOfSatisfying(AgentException.class, e -> {
                        // Then
                        assertThat(e.code()).isEqualTo(ErrorCode.COOKIE_MISSING);
                        assertThat(e.getMessage()).contains("host h2").contains("segment lan");
                    });
            assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(3));
        }
        assertThat(a.conts).isEqualTo(1);
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
    }

    /** Both hosts' cuts, the second one's so much later; what came of each. */
    private List<Future<CutEngine.Result>> cutBoth(CutEngine.Prepared cutA, CutEngine.Prepared cutB, int lateMillis)
            throws Exception {
        try (var pool = Executors.newFixedThreadPool(2)) {
            long start = Native.micros() + LEAD_MICROS;
            var first = pool.submit(() -> cutA.cut(start));
            var second = pool.submit(() -> cutB.cut(start + lateMillis * 1000L));
            return List.of(first, second);
        }
    }

    private void assertNextCutIsExact() throws Exception {
        byte[] nonce = nonce();
        try (var cutA = prepare(netA, a, nonce, 5000);
                var cutB = prepare(netB, b, nonce, 5000)) {
            var both = cutBoth(cutA, cutB, 0);
            assertConsistent(a, b, both.get(1).get().frames().get(B));
            assertConsistent(b, a, both.get(0).get().frames().get(A));
        }
        awaitTraffic();
    }

    private static ErrorCode code(Future<?> failed) throws Exception {
        try {
            Object ignored = failed.get();
            throw new AssertionError("it did not fail: " + ignored);
        } catch (ExecutionException e) {
            return ((AgentException) e.getCause()).code();
        }
    }

    @Test
    void peerThatSendsLateWithinTheLimitIsWaitedFor() throws Exception {
        byte[] nonce = nonce();
        try (var cutA = prepare(netA, a, nonce, 5000);
                var cutB = prepare(netB, b, nonce, 5000)) {
            // When: what it goes on sending for 200 ms is in flight
            var both = cutBoth(cutA, cutB, 200);
            // Then
            var atA = both.get(0).get();
            assertThat(atA.frames().get(A))
                    .isNotEmpty(); // how many is a matter of the machine, which ones is checked next
            assertConsistent(b, a, atA.frames().get(A));
            assertConsistent(a, b, both.get(1).get().frames().get(B));
            // who is early waits for who is late, however busy the machine is
            assertThat(atA.figures().runningMicros())
                    .isGreaterThanOrEqualTo(both.get(1).get().figures().armedMicros());
        }
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
    }

    @Test
    void peerThatSendsLateBeyondTheLimitFailsBothCutsAndEverythingRuns() throws Exception {
        byte[] nonce = nonce();
        try (var cutA = prepare(netA, a, nonce, 300);
                var cutB = prepare(netB, b, nonce, 300)) {
            // When
            var both = cutBoth(cutA, cutB, 900);
            // Then
            assertThat(code(both.get(0))).isEqualTo(ErrorCode.COOKIE_MISSING);
            assertThat(code(both.get(1))).isEqualTo(ErrorCode.COOKIE_MISSING);
        }
        assertThat(a.conts).isEqualTo(1);
        assertThat(b.conts).isEqualTo(1);
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
        assertNextCutIsExact();
    }

    @Test
    void cutGivenUpBeforeItsTimeDisturbsNothing() throws Exception {
        try (var pool = Executors.newFixedThreadPool(1);
                var cut = prepare(netA, a, nonce(), 300)) {
            // Given: its time is an hour ahead, as with a clock that is an hour behind
            var waits = pool.submit(() -> cut.cut(Native.micros() + 3_600_000_000L));
            // When
            cut.close();
            // Then
            assertThat(code(waits)).isEqualTo(ErrorCode.ABORTED);
        }
        assertThat(a.conts).isZero();
        awaitTraffic();
        assertNextCutIsExact();
    }

    @Test
    void holdTapThatOverflowsRefusesTheCheckpointAndCountsWhatIsLost() throws Exception {
        // Given: a hold TAP that keeps 64 frames, a host that does not look at it for 150 ms, and a peer that sends on
        hosts.shrinkHoldTaps(0, "cuts", 64);
        faults.arm(FaultPoint.CUT_GATES_CLOSED, () -> LockSupport.parkNanos(150_000_000));
        byte[] nonce = nonce();
        try (var cutA = faulty.prepare(netA, List.of(new CutEngine.Participant(a, a)), nonce, Duration.ofSeconds(5));
                var cutB = prepare(netB, b, nonce, 5000)) {
            // When
            var both = cutBoth(cutA, cutB, 300);
            // Then
            assertThat(code(both.get(0))).isEqualTo(ErrorCode.HOLD_OVERFLOW);
            assertThat(code(both.get(1))).isIn(ErrorCode.ABORTED, ErrorCode.COOKIE_MISSING);
            assertThatThrownBy(() -> both.get(0).get()).hasMessageMatching(".*held, [1-9][0-9]* lost\\).*");
        }
        assertThat(a.conts).isEqualTo(1);
        long expected = a.expected;
        awaitTraffic();
        // the guest sees a gap, and nothing twice or in another order
        assertThat(a.trouble).matches("frame [0-9]+ instead of [0-9]+");
        assertThat(a.expected).isGreaterThan(expected);
        a.trouble = null;
        // and the next checkpoint counts them as dropped
        hosts.shrinkHoldTaps(0, "cuts", 10_000);
        byte[] next = nonce();
        try (var cutA = prepare(netA, a, next, 5000);
                var cutB = prepare(netB, b, next, 5000)) {
            var nic = cutBoth(cutA, cutB, 0)
                    .getFirst()
                    .get()
                    .figures()
                    .vms()
                    .getFirst()
                    .nics()
                    .getFirst();
            assertThat(nic.dropped()).isPositive();
            assertThat(nic.entered()).isEqualTo(nic.delivered() + nic.held() + nic.dropped());
        }
        awaitTraffic();
        assertThat(a.trouble).isNull();
    }

    @Test
    void vmThatDoesNotAnswerKeepsNoOtherVmAndNoFrameWaiting() throws Exception {
        // Given: a second VM on host 1 whose QEMU hangs once it is stopped
        byte[] nonce = nonce();
        var hung = new HungVm();
        try (var pool = Executors.newFixedThreadPool(1);
                var cut = engine.prepare(
                        netA,
                        List.of(new CutEngine.Participant(a, a), new CutEngine.Participant(hung, hung)),
                        nonce,
                        Duration.ofMillis(300));
                var silent = prepare(netB, b, nonce, 300)) {
            assertThat(silent).isNotNull();
            // When
            var failed = pool.submit(() -> cut.cut(Native.micros() + LEAD_MICROS));
            hung.asked.await();
            // Then: long before the hung one is given up
            awaitTraffic();
            assertThat(failed.isDone()).isFalse();
            hung.answers.countDown();
            assertThat(code(failed)).isEqualTo(ErrorCode.COOKIE_MISSING);
        }
        assertThat(a.conts).isEqualTo(1);
        assertNextCutIsExact();
    }

    /** A VM whose QEMU stops and then answers nothing until it is let. */
    private static final class HungVm implements Vm, Vm.Snapshot {
        final CountDownLatch asked = new CountDownLatch(1);
        final CountDownLatch answers = new CountDownLatch(1);

        @Override
        public String name() {
            return "hung";
        }

        @Override
        public long pid() {
            return 1;
        }

        @Override
        public VmState state() {
            return new VmState("hung", "running", 1, "tcg", false, "fake", null);
        }

        @Override
        public int tapFd(int nic) {
            return -1;
        }

        @Override
        public void beginStop() {}

        @Override
        public long awaitStopped(Duration limit) {
            return Native.micros();
        }

        @Override
        public void beginCont() {
            asked.countDown();
        }

        @Override
        public long awaitRunning(Duration limit) throws AgentException {
            try {
                if (answers.await(limit.toMillis(), TimeUnit.MILLISECONDS)) {
                    return Native.micros();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            throw new AgentException(ErrorCode.QEMU_FAILED, "no answer", "");
        }

        @Override
        public Vm.Snapshot prepareSnapshot(Image image) {
            return this;
        }

        @Override
        public void load(Image image) {}

        @Override
        public void kill() {}

        @Override
        public void detach() {}

        @Override
        public void begin() {}

        @Override
        public long awaitArmed(Duration limit) {
            return Native.micros();
        }

        @Override
        public void writeBehind() {}

        @Override
        public void awaitComplete(Duration limit) {}

        @Override
        public void close() {}
    }

    @Test
    void stepThatFailsAnywhereInTheCutRunsTheVmAndGivesEveryFrameBack() throws Exception {
        for (FaultPoint point : FaultPoint.values()) {
            if (!point.key().startsWith("cut.") || point.number() > FaultPoint.CUT_GATES_OPEN.number()) {
                continue;
            }
            // Given
            faults.arm(point, () -> {
                throw new java.io.IOException("on purpose");
            });
            int conts = a.conts;
            // When; a machine that has too much else to do for the time is asked again
            ErrorCode came = ErrorCode.TOO_LATE;
            for (int i = 0; i < 10 && came == ErrorCode.TOO_LATE; i++) {
                byte[] nonce = nonce();
                try (var cutA = faulty.prepare(
                                netA, List.of(new CutEngine.Participant(a, a)), nonce, Duration.ofSeconds(2));
                        var cutB = prepare(netB, b, nonce, 2000)) {
                    came = code(cutBoth(cutA, cutB, 20).get(0));
                }
            }
            // Then
            assertThat(came).as(point.key()).isEqualTo(ErrorCode.IO_FAILED);
            assertThat(a.conts - conts).as(point.key()).isLessThanOrEqualTo(2);
            assertThat(a.state().state()).isEqualTo("running");
            awaitTraffic();
            assertThat(a.trouble).as(point.key()).isNull();
            assertThat(b.trouble).as(point.key()).isNull();
        }
        assertNextCutIsExact();
    }

    @Test
    void peerThatGivesUpIsNotWaitedFor() throws Exception {
        // Given: the peer's snapshot cannot be taken
        byte[] nonce = nonce();
        var broken = new CutEngine.Participant(b, new BrokenSnapshot());
        try (var pool = Executors.newFixedThreadPool(2);
                var cutA = prepare(netA, a, nonce, 8000);
                var cutB = engine.prepare(netB, List.of(broken), nonce, Duration.ofSeconds(8))) {
            long begin = System.nanoTime();
            long start = Native.micros() + LEAD_MICROS;
            // When
            var first = pool.submit(() -> cutA.cut(start));
            var second = pool.submit(() -> cutB.cut(start));
            // Then
            assertThatThrownBy(second::get).hasMessageContaining("broken on purpose");
            assertThatThrownBy(first::get).hasMessageContaining("host h2 has given the cut up");
            assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(7));
        }
        assertThat(a.snapshotClosed).isTrue();
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
    }

    @Test
    void lateCutIsRefusedAndDisturbsNothing() throws Exception {
        try (var cut = prepare(netA, a, nonce(), 300)) {
            assertThatThrownBy(() -> cut.cut(Native.micros() - 1))
                    .isInstanceOfSatisfying(
                            AgentException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.TOO_LATE));
        }
        assertThat(a.conts).isZero();
        awaitTraffic();
    }

    @Test
    void vmWithoutNicsIsCutWithoutWaiting() throws Exception {
        // Given
        var alone = hosts.build(0, new NetworkPlan("alone", TestHosts.host(0), "10.98.0.1", List.of(), List.of()));
        try (var cut = prepare(alone, a, nonce(), 1000)) {
            // When
            var result = cut.cut(Native.micros() + LEAD_MICROS);
            // Then
            assertThat(result.frames()).isEmpty();
            assertThat(result.figures().vms().getFirst().nics()).isEmpty();
            assertThat(result.figures().vms().getFirst().pauseMicros()).isPositive();
        }
        awaitTraffic();
    }

    /** A network with those segments on one of the hosts, a NIC of the VM on each. */
    private HostNetwork network(String instance, int host, int vni, boolean shared, String vm, String... segments)
            throws Exception {
        var parts = new ArrayList<SegmentPlan>();
        var nics = new ArrayList<NicPlan>();
        for (String s : segments) {
            var peers = shared ? List.of(new Peer(TestHosts.host(1 - host), underlay(1 - host))) : List.<Peer>of();
            parts.add(new SegmentPlan(s, 1450, vni + parts.size(), peers));
            nics.add(new NicPlan(new NicId(vm, nics.size()), s, "52:54:00:00:00:0" + nics.size()));
        }
        return hosts.build(host, new NetworkPlan(instance, TestHosts.host(host), underlay(host), parts, nics));
    }

    private static String underlay(int host) {
        return "10.98.0." + (host + 1);
    }

    /** Cuts on two hosts side by side, the second one beginning later by so much; their figures. */
    private List<CutFigures.HostCut> both(CutEngine.Prepared first, CutEngine.Prepared second, long laterMicros)
            throws Exception {
        try (var pool = Executors.newFixedThreadPool(2)) {
            long start = Native.micros() + LEAD_MICROS;
            var one = pool.submit(() -> first.cut(start));
            var two = pool.submit(() -> second.cut(start + laterMicros));
            return List.of(one.get().figures(), two.get().figures());
        }
    }

    private static List<CutFigures.TraceStep> steps(CutFigures.HostCut cut, CutFigures.Step step) {
        return cut.trace().stream().filter(t -> t.step() == step).toList();
    }

    @Test
    void hostsWithoutACommonSegmentDoNotWaitForEachOther() throws Exception {
        // Given: one instance, its hosts on a segment each
        var red = network("apart", 0, 7010, false, "a", "red");
        var blue = network("apart", 1, 7020, false, "b", "blue");
        byte[] nonce = nonce();
        try (var cutA = prepare(red, a, nonce, 2000);
                var cutB = prepare(blue, b, nonce, 2000)) {
            // When: the second is cut when the first must long have ended
            var figures = both(cutA, cutB, 700_000);
            // Then
            assertThat(figures.get(0).runningMicros()).isLessThan(figures.get(1).gatesClosedMicros());
            for (var h : figures) {
                assertThat(steps(h, CutFigures.Step.captured_heard))
                        .allSatisfy(t -> assertThat(t.peer()).isEqualTo(h.host()))
                        .hasSize(1);
            }
        }
        awaitTraffic();
    }

    @Test
    void singleHostNeedsNoPeerAndSaysOneCookieOnEachSegment() throws Exception {
        // Given: one host, a VM on two segments
        var alone = network("single", 0, 7030, false, "a", "red", "blue");
        try (var cut = prepare(alone, a, nonce(), 2000)) {
            // When
            var result = cut.cut(Native.micros() + LEAD_MICROS);
            // Then: each NIC had got as many cookies as the other when its ledger was closed, before captured is said
            var nics = result.figures().vms().getFirst().nics();
            assertThat(nics).extracting(CutFigures.NicLedger::segment).containsExactly("red", "blue");
            assertThat(nics.get(0).cookies()).isPositive().isEqualTo(nics.get(1).cookies());
            assertThat(steps(result.figures(), CutFigures.Step.stopped_heard)).hasSize(2);
        }
        awaitTraffic();
    }

    @Test
    void vmWithoutNicsIsCutWithTheOthersOfItsHost() throws Exception {
        // Given: a third VM, without a NIC, beside b
        byte[] nonce = nonce();
        var none = new FakeVm("none");
        try (var cutA = prepare(netA, a, nonce, 3000);
                var cutB = engine.prepare(
                        netB,
                        List.of(new CutEngine.Participant(b, b), new CutEngine.Participant(none, none)),
                        nonce,
                        Duration.ofSeconds(3))) {
            // When
            var figures = both(cutA, cutB, 0);
            // Then: it runs again not before the other host has captured
            var cut = figures.get(1).vms().get(1);
            assertThat(cut.vm()).isEqualTo("none");
            assertThat(cut.nics()).isEmpty();
            assertThat(cut.runMicros()).isGreaterThanOrEqualTo(figures.get(0).armedMicros());
        } finally {
            none.shutDown();
        }
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
    }

    @Test
    void cookiesOfAnotherCutAreNotTakenForOurs() throws Exception {
        // Given: two cuts at once, each host knows the other's cookies as those of the cut before
        byte[] one = nonce();
        byte[] two = nonce();
        prepare(netA, a, two, 400).close();
        prepare(netB, b, one, 400).close();
        try (var cutA = prepare(netA, a, one, 400);
                var cutB = prepare(netB, b, two, 400)) {
            // When, Then
            assertThatThrownBy(() -> both(cutA, cutB, 0))
                    .hasRootCauseInstanceOf(AgentException.class)
                    .hasStackTraceContaining("no cookie stopped");
        }
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
    }

    @Test
    void cookiesAreSaidAgainUntilTheyAreAnsweredAndReachNoGuest() throws Exception {
        // Given
        byte[] nonce = nonce();
        try (var pool = Executors.newSingleThreadExecutor();
                var cutA = prepare(netA, a, nonce, 10_000);
                var cutB = prepare(netB, b, nonce, 10_000)) {
            long start = Native.micros() + LEAD_MICROS;
            var atA = pool.submit(() -> cutA.cut(start));
            // When: the second host's gate, which is open, has dropped many of the first one's cookies
            long limit = System.nanoTime() + 5_000_000_000L;
            while (netB.gate(B).ledger().cookies() < 8) {
                assertThat(System.nanoTime()).as("cookies come again and again").isLessThan(limit);
                LockSupport.parkNanos(1_000_000);
            }
            var second = cutB.cut(Native.micros() + LEAD_MICROS).figures();
            // Then: it hears the next ones, and the first host needs nothing more
            assertThat(steps(second, CutFigures.Step.captured_heard))
                    .extracting(CutFigures.TraceStep::peer)
                    .contains(atA.get().figures().host());
        }
        awaitTraffic();
        assertThat(a.trouble).isNull();
        assertThat(b.trouble).isNull();
    }

    private static final class BrokenSnapshot implements io.holdfast.agent.domain.Vm.Snapshot {
        @Override
        public void begin() throws AgentException {
            throw new AgentException(ErrorCode.QEMU_FAILED, "broken on purpose", "");
        }

        @Override
        public long awaitArmed(Duration limit) {
            return 0;
        }

        @Override
        public void writeBehind() {}

        @Override
        public void awaitComplete(Duration limit) {}

        @Override
        public void close() {}
    }
}
