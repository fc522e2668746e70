package io.holdfast.agent.net;

import io.holdfast.agent.domain.InstanceNetwork;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NetworkPlan.NicPlan;
import io.holdfast.agent.domain.NetworkPlan.Peer;
import io.holdfast.agent.domain.NetworkPlan.SegmentPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Assumptions;

/** Hosts for tests: namespaces with an underlay link between them, and a fabric in each. All their names begin with hft-n-. */
public final class TestHosts implements AutoCloseable {
    static final String PREFIX = "hft-n-";
    private static final AtomicInteger COUNT = new AtomicInteger();
    private final int number = COUNT.incrementAndGet();
    private final List<String> homes = new ArrayList<>();
    private final List<IpFabric> fabrics = new ArrayList<>();
    private final List<InstanceNetwork> networks = new ArrayList<>();

    /** Says loudly when this machine cannot. */
    public static void assumePossible() {
        Assumptions.assumeTrue(
                "root".equals(System.getProperty("user.name")) && Files.isWritable(Path.of("/dev/net/tun")),
                "NOT TESTED: needs root and /dev/net/tun");
    }

    public TestHosts(int hosts) throws IOException {
        for (int i = 0; i < hosts; i++) {
            String home = PREFIX + "u" + number + "-" + i;
            homes.add(home);
            dropNamespace(home);
            Iproute.run("ip", null, List.of("netns add " + home));
            fabrics.add(new IpFabric(host(i), PREFIX, 4789, home));
        }
        if (hosts == 2) {
            Iproute.run(
                    "ip",
                    homes.get(0),
                    List.of(
                            "link add v0 type veth peer name v1 netns " + homes.get(1),
                            "addr add 10.98.0.1/24 dev v0",
                            "link set v0 mtu 9000 up"));
            Iproute.run("ip", homes.get(1), List.of("addr add 10.98.0.2/24 dev v1", "link set v1 mtu 9000 up"));
        }
    }

    public static String host(int i) {
        return "h" + (i + 1);
    }

    public IpFabric fabric(int i) {
        return fabrics.get(i);
    }

    /** The plan of a host with one segment "lan" that the others share, with these VMs of one NIC each. */
    public NetworkPlan plan(String instance, int i, int vni, String... vms) {
        var peers = new ArrayList<Peer>();
        for (int j = 0; j < homes.size(); j++) {
            if (j != i) {
                peers.add(new Peer(host(j), "10.98.0." + (j + 1)));
            }
        }
        var nics = new ArrayList<NicPlan>();
        for (String vm : vms) {
            nics.add(new NicPlan(new NicId(vm, 0), "lan", "52:54:00:00:00:01"));
        }
        return new NetworkPlan(
                instance, host(i), "10.98.0." + (i + 1), List.of(new SegmentPlan("lan", 1450, vni, peers)), nics);
    }

    public HostNetwork build(int i, NetworkPlan plan) throws Exception {
        var network = (HostNetwork) fabric(i).build(plan, false);
        networks.add(network);
        return network;
    }

    /** Lets the hold TAPs of an instance on a host keep so many frames. */
    public void shrinkHoldTaps(int i, String instance, int frames) throws IOException {
        String ns = PREFIX + host(i) + "-" + instance;
        Iproute.run("ip", ns, List.of("link set h0 txqueuelen " + frames));
    }

    static void dropNamespace(String name) throws IOException {
        if (Files.exists(Path.of("/run/netns", name))) {
            Iproute.run("ip", null, List.of("netns del " + name));
        }
    }

    @Override
    public void close() throws Exception {
        for (var n : networks) {
            n.close();
        }
        for (var f : fabrics) {
            for (String instance : f.present()) {
                f.remove(instance);
            }
        }
        for (String home : homes) {
            dropNamespace(home);
        }
    }

    /** An Ethernet frame with its 12-byte header: numbered, to a destination. */
    public static byte[] frame(int to, int from, int type, long number) {
        var b = java.nio.ByteBuffer.allocate(12 + 60);
        b.position(12);
        b.put(mac(to)).put(mac(from)).putShort((short) type).putLong(number);
        return b.array();
    }

    /** The number in such a frame. */
    public static long number(java.nio.ByteBuffer frame) {
        return frame.getLong(12 + 14);
    }

    public static byte[] mac(int n) {
        return n < 0 ? new byte[] {-1, -1, -1, -1, -1, -1} : new byte[] {0x52, 0x54, 0, 0, (byte) (n >> 8), (byte) n};
    }

    /** Writes a frame to a TAP, as a guest does that sends it. */
    public static void write(int tap, byte[] frame) throws IOException {
        Native.write(tap, frame, 1000);
    }
}
