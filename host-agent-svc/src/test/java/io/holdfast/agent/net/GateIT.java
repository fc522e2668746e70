package io.holdfast.agent.net;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.NetworkFabric.RemoteFd;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.nat.Errno;
import io.holdfast.agent.nat.Native;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Real TAPs and gates; this process plays the guests by reading and writing the TAPs. */
class GateIT {
    private static final int DATA = 0x0800;
    private static final NicId A = new NicId("a", 0);
    private static final NicId B = new NicId("b", 0);
    private static final byte[] NONCE = "0123456789abcdef".getBytes(java.nio.charset.StandardCharsets.US_ASCII);

    private TestHosts hosts;
    private HostNetwork network;
    private int tapA;
    private int tapB;
    private Gate gate;
    private final List<Reader> readers = new ArrayList<>();

    @BeforeEach
    void build() throws Exception {
        TestHosts.assumePossible();
        hosts = new TestHosts(1);
        use(hosts.build(0, hosts.plan("gates", 0, 7001, "a", "b")));
    }

    private void use(HostNetwork n) throws Exception {
        network = n;
        tapA = n.tapFd(A);
        tapB = n.tapFd(B);
        gate = n.gate(B);
    }

    @AfterEach
    void remove() throws Exception {
        for (var r : readers) {
            r.stop();
        }
        if (hosts != null) {
            hosts.close();
        }
    }

    private void send(long number) throws Exception {
        TestHosts.write(tapA, TestHosts.frame(2, 1, DATA, number));
    }

    /** The numbers of the frames that the guest b would get now. */
    private List<Long> taken() throws Exception {
        var numbers = new ArrayList<Long>();
        var b = ByteBuffer.allocateDirect(70_000).order(ByteOrder.BIG_ENDIAN);
        for (; ; ) {
            long n = Native.lib().hf_read(tapB, b, 70_000, 0);
            if (n == -Errno.ETIMEDOUT) {
                return numbers;
            }
            Native.check(n, "read");
            numbers.add(TestHosts.number(b));
        }
    }

    @Test
    void openGateLetsFramesThroughAndCountsThem() throws Exception {
        send(1);
        send(2);
        assertThat(taken()).containsExactly(1L, 2L);
        assertThat(gate.delivered()).isTrue();
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 2, 0, 0, 0));
    }

    @Test
    void frameThatPassedIsUndeliveredUntilTheGuestHasReadIt() throws Exception {
        // Given
        send(1);
        gate.shut();
        assertThat(gate.delivered()).isFalse();
        // When
        assertThat(taken()).containsExactly(1L);
        // Then
        assertThat(gate.delivered()).isTrue();
    }

    /** A TCP frame with segmentation offload, to be cut up into so many for a guest that takes none. */
    private static byte[] large(int segments) {
        int payload = 100;
        var b = ByteBuffer.allocate(12 + 14 + 40 + segments * payload);
        // virtio-net header: NEEDS_CSUM, TCPv4, header length, segment size, where the checksum begins and is
        b.order(ByteOrder.LITTLE_ENDIAN);
        b.put((byte) 1).put((byte) 1).putShort((short) 54).putShort((short) payload);
        b.putShort((short) 34).putShort((short) 16).putShort((short) 0);
        b.order(ByteOrder.BIG_ENDIAN);
        b.put(TestHosts.mac(2)).put(TestHosts.mac(1)).putShort((short) 0x0800);
        int length = b.capacity() - 12 - 14;
        b.putShort((short) 0x4500)
                .putShort((short) length)
                .putInt(0)
                .put((byte) 64)
                .put((byte) 6)
                .putShort((short) 0);
        b.putInt(0x0a000001).putInt(0x0a000002); // the IPv4 header's own checksum is not looked at by bridges
        b.putShort((short) 1)
                .putShort((short) 2)
                .putInt(1)
                .putInt(1)
                .putShort((short) 0x5010)
                .putShort((short) 1000);
        return b.array();
    }

    @Test
    void framesCutUpBehindTheGateDoNotHideOneThatIsNotRead() throws Exception {
        // Given: one frame in, two out, because this guest takes no segmentation offload
        TestHosts.write(tapA, large(2));
        assertThat(taken()).hasSize(2);
        // When: one more, which the guest has not read
        send(7);
        gate.shut();
        // Then
        assertThat(gate.delivered()).isFalse();
        assertThat(taken()).containsExactly(7L);
        assertThat(gate.delivered()).isTrue();
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 2, 0, 0, 0));
    }

    @Test
    void frameWithSegmentationOffloadIsHeldWholeAndGivenBack() throws Exception {
        // Given
        gate.shut();
        byte[] frame = large(20);
        TestHosts.write(tapA, frame);
        var held = new ArrayList<Frame>();
        // When
        gate.read(data -> !held.add(new Frame(0, data)));
        // Then: as one, with what says how to cut it up
        assertThat(held).hasSize(1);
        assertThat(held.getFirst().data()).hasSize(frame.length);
        assertThat(held.getFirst().data()).startsWith(1, 1);
        gate.open(held);
        assertThat(taken()).hasSize(20);
    }

    /** A frame with that many tags, and that long with them. */
    private static byte[] tagged(int tags, int length, long number) {
        var b = ByteBuffer.allocate(12 + length);
        b.position(12);
        b.put(TestHosts.mac(2)).put(TestHosts.mac(1));
        for (int i = 0; i < tags; i++) {
            b.putShort((short) 0x8100).putShort((short) (5 + i));
        }
        b.putShort((short) 0x1234).putLong(number);
        return b.array();
    }

    @Test
    void taggedFramesAreHeldAndGivenBackAsTheyWere() throws Exception {
        // Given: a gate that is closed, and frames as long as their segment's MTU of 1450 allows, one and two tags
        // longer
        gate.shut();
        TestHosts.write(tapA, tagged(1, 1450 + 14 + 4, 1));
        TestHosts.write(tapA, tagged(2, 1450 + 14 + 8, 2));
        TestHosts.write(tapA, tagged(1, 60, 3));
        var held = new ArrayList<Frame>();
        gate.read(data -> !held.add(new Frame(0, data)));
        assertThat(held).extracting(f -> f.data().length - Frame.VNET_HEADER).containsExactly(1468, 1472, 60);
        TestHosts.write(tapA, tagged(2, 1450 + 14 + 8, 4));
        // When
        gate.open(held);
        // Then
        var b = ByteBuffer.allocateDirect(70_000);
        for (byte[] wanted : List.of(tagged(1, 1468, 1), tagged(2, 1472, 2), tagged(1, 60, 3), tagged(2, 1472, 4))) {
            byte[] got = new byte[(int) Native.check(Native.lib().hf_read(tapB, b, 70_000, 1000), "read")];
            b.get(0, got);
            assertThat(got).isEqualTo(wanted);
        }
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(4, 4, 0, 0, 0));
    }

    @Test
    void heldFrameTooLargeForItsSegmentIsDroppedAndCountedAndKeepsNoOtherBack() throws Exception {
        // Given: the bridge lets a tagged one pass that is longer than any packet socket takes
        gate.shut();
        TestHosts.write(tapA, tagged(1, 1450 + 8 + 14 + 8, 1));
        send(2);
        var held = new ArrayList<Frame>();
        gate.read(data -> !held.add(new Frame(0, data)));
        assertThat(held).hasSize(2);
        TestHosts.write(tapA, tagged(1, 1450 + 8 + 14 + 8, 3));
        send(4);
        // When
        gate.open(held);
        // Then
        assertThat(taken()).containsExactly(2L, 4L);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(4, 2, 0, 2, 0));
    }

    @Test
    void closedGateHoldsFramesAndOpeningGivesThemInOrder() throws Exception {
        // Given
        gate.shut();
        send(1);
        send(2);
        assertThat(taken()).isEmpty();
        var held = new ArrayList<Frame>();
        gate.read(data -> !held.add(new Frame(0, data)));
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 0, 2, 0, 0));
        send(3);
        // When
        gate.open(held);
        send(4);
        // Then
        assertThat(taken()).containsExactly(1L, 2L, 3L, 4L);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(4, 4, 0, 0, 0));
    }

    @Test
    void cookiesNeverReachAGuestAndOtherFramesOfTheirTypeDo() throws Exception {
        // Given
        gate.expect(NONCE);
        var cookie = new Cookie(Cookie.Kind.STOPPED, 0, "h1").encode(NONCE);
        byte[] other = NONCE.clone();
        other[15]++;
        var stranger = new Cookie(Cookie.Kind.STOPPED, 0, "h1").encode(other);
        // When
        network.send("lan", cookie);
        network.send("lan", stranger);
        TestHosts.write(tapA, TestHosts.frame(2, 1, Cookie.ETHER_TYPE, 5));
        // Then
        assertThat(taken()).hasSize(2);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 2, 0, 0, 1));
        // When
        gate.shut();
        network.send("lan", cookie);
        network.send("lan", stranger);
        var held = new ArrayList<Frame>();
        var cookies = new ArrayList<Cookie>();
        gate.read(data -> {
            if (Cookie.is(data, Frame.VNET_HEADER, NONCE)) {
                cookies.add(Cookie.decode(data, Frame.VNET_HEADER).orElseThrow());
                return true;
            }
            return !held.add(new Frame(0, data));
        });
        network.send("lan", cookie);
        gate.open(held);
        // Then
        assertThat(cookies).containsExactly(new Cookie(Cookie.Kind.STOPPED, 0, "h1"));
        assertThat(taken()).hasSize(1);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(3, 3, 0, 0, 3));
    }

    @Test
    void fullHoldTapIsSeenAndCounted() throws Exception {
        // Given
        gate.shut();
        // When
        for (int i = 0; i < 10_100; i++) {
            send(i);
        }
        // Then
        assertThat(gate.overflow()).isEqualTo(100);
        var held = new ArrayList<Frame>();
        gate.read(data -> !held.add(new Frame(0, data)));
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(10_100, 0, 10_000, 100, 0));
        assertThat(gate.allRead()).isTrue();
        // When: the guest takes frames while they are given back
        var reader = new Reader();
        gate.open(held);
        // Then
        reader.awaitFrames(10_000);
        reader.stop();
        assertThat(reader.trouble.get()).isNull();
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(10_100, 10_000, 0, 100, 0));
        send(10_000);
        assertThat(taken()).containsExactly(10_000L);
    }

    @Test
    void overflowThatNobodyReadDoesNotKeepTheGateFromOpening() throws Exception {
        gate.shut();
        for (int i = 0; i < 10_050; i++) {
            send(i);
        }
        var reader = new Reader();
        gate.open(List.of());
        reader.awaitFrames(10_000);
        reader.stop();
        assertThat(reader.trouble.get()).isNull();
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(10_050, 10_000, 0, 50, 0));
    }

    @Test
    void framesOfAnImageComeFirst() throws Exception {
        gate.shut();
        send(3);
        network.inject(
                B, List.of(new Frame(0, TestHosts.frame(2, 1, DATA, 1)), new Frame(0, TestHosts.frame(2, 1, DATA, 2))));
        network.openGates();
        assertThat(taken()).containsExactly(1L, 2L, 3L);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(3, 3, 0, 0, 0));
    }

    @Test
    void nicThatTakesNoFramesCountsAsDeliveredAndItsFramesAreTakenBack() throws Exception {
        // Given
        send(1);
        send(2);
        // When
        gate.lookAsleep(2_000);
        gate.shut();
        // Then
        assertThat(gate.asleep()).isTrue();
        assertThat(gate.delivered()).isTrue();
        var salvaged = gate.salvage();
        assertThat(salvaged).hasSize(2);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 0, 2, 0, 0));
        gate.open(salvaged);
        assertThat(taken()).containsExactly(1L, 2L);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 2, 0, 0, 0));
    }

    @Test
    void networkIsTakenOverFromALiveTapOwner() throws Exception {
        // Given: another descriptor of each TAP plays QEMU's
        int qemuA = Native.dup(tapA);
        int qemuB = Native.dup(tapB);
        var plan = network.plan();
        gate.shut();
        send(1);
        network.close();
        tapB = qemuB;
        tapA = qemuA;
        send(2);
        assertThat(taken()).as("the gate opened when its owner let go").containsExactly(2L);
        // When
        long pid = ProcessHandle.current().pid();
        var adopted = (HostNetwork)
                hosts.fabric(0).adopt(plan, Map.of(A, new RemoteFd(pid, qemuA), B, new RemoteFd(pid, qemuB)));
        // Then
        use(adopted);
        send(3);
        gate.shut();
        send(4);
        assertThat(taken()).containsExactly(3L);
        assertThat(gate.delivered()).isTrue();
        gate.open(List.of());
        assertThat(taken()).containsExactly(4L);
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(2, 2, 0, 0, 0));
        adopted.close();
        Native.close(qemuA);
        Native.close(qemuB);
    }

    @Test
    void hundredsOfClosingsUnderFullTrafficLoseRepeatAndReorderNothing() throws Exception {
        // Given: a sender as fast as it goes
        var reader = new Reader();
        var sent = new AtomicLong();
        var stop = new AtomicBoolean();
        var sender = new Thread(() -> {
            try {
                while (!stop.get()) {
                    if (sent.get() - reader.count.get() < 2000) {
                        send(sent.getAndIncrement());
                        if (sent.get() % 64 == 0) {
                            LockSupport.parkNanos(100_000);
                        }
                    } else {
                        LockSupport.parkNanos(20_000);
                    }
                }
            } catch (Exception e) {
                reader.trouble.compareAndSet(null, e.toString());
            }
        });
        sender.start();
        int framesHeld = 0;
        // When
        for (int i = 0; i < 400; i++) {
            gate.shut();
            long limit = System.nanoTime() + 5_000_000_000L;
            while (!gate.delivered()) {
                assertThat(System.nanoTime()).as("delivered in time").isLessThan(limit);
            }
            long taken = reader.count.get();
            var held = new ArrayList<Frame>();
            do {
                gate.read(data -> !held.add(new Frame(0, data)));
                assertThat(System.nanoTime())
                        .as("frames come: " + reader.trouble + " " + sent + " " + reader.count + " " + held.size() + " "
                                + gate.ledger())
                        .isLessThan(limit);
            } while (held.size() < i % 7);
            assertThat(reader.count.get()).as("nothing came while closed").isLessThanOrEqualTo(taken + 1);
            framesHeld += held.size();
            gate.open(held);
            long until = System.nanoTime() + 300_000L * (i % 5);
            while (System.nanoTime() < until) {
                Thread.onSpinWait();
            }
        }
        // Then
        stop.set(true);
        sender.join();
        reader.awaitFrames(sent.get());
        reader.stop();
        assertThat(reader.trouble.get()).isNull();
        assertThat(framesHeld).isPositive();
        assertThat(gate.ledger()).isEqualTo(new Gate.Ledger(sent.get(), sent.get(), 0, 0, 0));
        System.out.println("GateIT: " + sent.get() + " frames, " + framesHeld + " held in 400 closings");
    }

    /** A guest that expects the numbers 0, 1, 2, ... */
    private final class Reader {
        final AtomicLong count = new AtomicLong();
        final AtomicReference<String> trouble = new AtomicReference<>();
        private final AtomicBoolean stop = new AtomicBoolean();
        private final Thread thread = new Thread(this::run);
        private final int tap = tapB;

        Reader() {
            thread.start();
            readers.add(this);
        }

        private void run() {
            var b = ByteBuffer.allocateDirect(70_000);
            long last = -1;
            while (!stop.get()) {
                long n = Native.lib().hf_read(tap, b, 70_000, 20);
                if (n == -Errno.ETIMEDOUT) {
                    continue;
                }
                long number = TestHosts.number(b);
                if (n < 0 || number != last + 1) {
                    trouble.compareAndSet(null, "result " + n + ", frame " + number + " after " + last);
                }
                last = number;
                count.incrementAndGet();
            }
        }

        void awaitFrames(long n) {
            long limit = System.nanoTime() + 10_000_000_000L;
            while (count.get() < n && System.nanoTime() < limit) {
                LockSupport.parkNanos(1_000_000);
            }
            assertThat(count.get()).isEqualTo(n);
        }

        void stop() throws InterruptedException {
            stop.set(true);
            thread.join();
        }
    }
}
