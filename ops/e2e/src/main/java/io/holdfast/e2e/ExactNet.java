package io.holdfast.e2e;

import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A network with every sort of traffic, each of it counted by the guests: six VMs, two segments, c routes between them.
 *
 * <pre>
 *   red:  a  b  c          blue:  c  d  e  f
 * </pre>
 *
 * <p>A ring of TCP connections over all of them; numbered datagrams: unicast at full rate, routed, broadcast, multicast, IPv6, IPv6 multicast,
 * 802.1Q-tagged; two TCP streams whose every byte is checked, one as fast as it goes, with segmentation offload, one routed over IPv6;
 * frames of the cookies' EtherType that guests send, tagged as well.
 */
public final class ExactNet {
    /** Names of the VMs. */
    public static final List<String> VMS = List.of("a", "b", "c", "d", "e", "f");

    private static final int RING_PORT = 7000;
    private static final int VLAN = 5;

    private final Map<String, List<String>> programs = new TreeMap<>();
    private final Map<String, Set<Integer>> streams = new TreeMap<>();

    /**
     * @param rate datagrams a second of the stream that is the fastest
     * @param bulkKib KiB a second of the fastest TCP stream, 0: as fast as it goes
     */
    public ExactNet(int rate, int bulkKib) {
        for (int i = 0; i < VMS.size(); i++) {
            String vm = VMS.get(i);
            String next = VMS.get((i + 1) % VMS.size());
            // c takes the ring's connection on red and goes on over blue
            String to = vm.equals("b") ? ip(1, "c") : ip(segment(next), next);
            run(vm, "ring,%d,%d,%d,%s,%d,40".formatted(VMS.size(), i, RING_PORT, to, RING_PORT));
        }
        datagrams(9001, "a", ip(1, "b"), rate, null, "b");
        datagrams(9002, "f", ip(1, "a"), 200, null, "a");
        datagrams(9003, "b", "10.0.1.255", 50, null, "a", "c");
        datagrams(9004, "e", "239.1.1.1%eth0", 50, "239.1.1.1%eth0", "d", "f");
        datagrams(9005, "d", ip6(1, "a"), 50, "::", "a");
        datagrams(9006, "e", "ff02::77%eth0", 50, "ff02::77%eth0", "d");
        datagrams(9007, "a", "10.5.1.2", 100, null, "b");
        datagrams(9008, "f", "10.5.2.255", 50, null, "e");
        frames(88, "d", "eth0", 60, Map.of("c", "eth1", "e", "eth0", "f", "eth0"));
        frames(89, "a", "eth0." + VLAN, 30, Map.of("b", "eth0." + VLAN));
        bulk(9100, "e", ip(2, "f"), bulkKib, "f");
        bulk(9101, "b", ip6(2, "d"), 128, "d");
        VMS.forEach(vm -> run(vm, "drops,5"));
    }

    /** Numbers of the streams of datagrams and frames that come to each VM. */
    public Map<String, Set<Integer>> streams() {
        return streams;
    }

    /** The spec, with those hosts for the VMs. */
    public NetworkSpec spec(String name, Path guest, String memory, Map<String, String> placement) {
        List<VmSpec> vms = new ArrayList<>();
        for (String vm : VMS) {
            StringBuilder words = new StringBuilder();
            List<String> segments = vm.equals("c") ? RingNet.SEGMENTS : List.of(RingNet.SEGMENTS.get(segment(vm) - 1));
            for (int nic = 0; nic < segments.size(); nic++) {
                int s = RingNet.SEGMENTS.indexOf(segments.get(nic)) + 1;
                words.append("hf.nic%d=%s/24 hf.nic%d=%s/64 ".formatted(nic, ip(s, vm), nic, ip6(s, vm)));
            }
            int other = 3 - segment(vm);
            if (vm.equals("c")) {
                words.append("hf.forward ");
            } else {
                words.append("hf.vlan0.%d=10.5.%d.%d/24 ".formatted(VLAN, segment(vm), number(vm)));
                words.append("hf.route=10.0.%d.0/24,%s ".formatted(other, ip(segment(vm), "c")));
                words.append("hf.route=fd00:%d::/64,%s ".formatted(other, ip6(segment(vm), "c")));
            }
            words.append("hf.run=").append(String.join("+", programs.get(vm)));
            vms.add(RingNet.vm(vm, guest, memory, words.toString(), segments));
        }
        return new NetworkSpec(
                name,
                RingNet.SEGMENTS.stream().map(s -> new SegmentSpec(s, null)).toList(),
                vms,
                placement);
    }

    private void run(String vm, String program) {
        programs.computeIfAbsent(vm, v -> new ArrayList<>()).add(program);
    }

    private void receive(String vm, int stream, String program) {
        streams.computeIfAbsent(vm, v -> new TreeSet<>()).add(stream);
        run(vm, program);
    }

    private void datagrams(int port, String from, String to, int rate, String group, String... receivers) {
        for (String vm : receivers) {
            receive(vm, port, "udpseq,recv," + port + (group == null ? "" : "," + group));
        }
        run(from, "udpseq,send,%s,%d,%d".formatted(to, port, rate));
    }

    private void frames(int id, String from, String device, int rate, Map<String, String> receivers) {
        receivers.forEach((vm, on) -> receive(vm, id, "ether,recv,%s,%d".formatted(on, id)));
        run(from, "ether,send,%s,%d,%d".formatted(device, id, rate));
    }

    private void bulk(int port, String from, String to, int kib, String receiver) {
        run(receiver, "bulk,recv," + port);
        run(from, "bulk,send,%s,%d".formatted(to, port) + (kib > 0 ? "," + kib : ""));
    }

    /** The segment of a VM's first NIC, from 1; c's ring goes on over the second. */
    private static int segment(String vm) {
        return number(vm) <= 3 ? 1 : 2;
    }

    private static int number(String vm) {
        return VMS.indexOf(vm) + 1;
    }

    private static String ip(int segment, String vm) {
        return "10.0." + segment + "." + number(vm);
    }

    private static String ip6(int segment, String vm) {
        return "fd00:" + segment + "::" + number(vm);
    }
}
