package io.holdfast.agent.cut;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.net.HostNetwork;
import io.holdfast.agent.net.TestHosts;
import io.holdfast.schemas.event.ErrorCode;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Cuts over two real networks joined by VXLAN; the VMs are {@link FakeVm}s that send to each other all the time. */
class CutIT {
    /** Long enough for a machine that has much else to do. */
    private static final long LEAD_MICROS = 300_000;

    private static final NicId A = new NicId("a", 0);
    private static final NicId B = new NicId("b", 0);
    private final GateCutEngine engine = new GateCutEngine(GateCutEngine.DEFAULT_SETTLE);
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
