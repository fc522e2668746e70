package io.holdfast.e2e;

import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The network that demo, tests and benches run: VMs in a ring over two segments, datagrams between them. */
public final class RingNet {
    /** Both segments. */
    public static final List<String> SEGMENTS = List.of("red", "blue");

    /** Safe for the guest, and a second faster to boot under emulation; see ops/guest/README.md. */
    private static final String BOOT = "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off nokaslr"
            + " no_timer_check audit=0 tsc=reliable random.trust_cpu=on";

    private static final int RING_PORT = 7000;
    private static final int DATAGRAM_PORT = 9000;

    private RingNet() {}

    /** Names of the VMs: a, b, c, ... */
    public static List<String> names(int vms) {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < vms; i++) {
            names.add(String.valueOf((char) ('a' + i)));
        }
        return names;
    }

    /**
     * The spec. Every VM has a NIC on each segment and holds the next one over red and blue by turns; every VM sends
     * datagrams to the one after the next, over the other segment than the ring there. One VM alone runs {@code clock}.
     *
     * @param guest folder of the guest
     * @param memory RAM of each VM, such as 256MiB
     * @param rate datagrams a second from each VM
     * @param lapMillis shortest time of a lap of the ring
     * @param extra more programs for every VM, in the form of {@code hf.run}, or null
     * @param placement VM to host
     */
    public static NetworkSpec spec(
            String name,
            Path guest,
            String memory,
            int vms,
            int rate,
            int lapMillis,
            String extra,
            Map<String, String> placement) {
        List<String> names = names(vms);
        List<VmSpec> specs = new ArrayList<>();
        for (int i = 0; i < vms; i++) {
            List<String> run = new ArrayList<>();
            if (vms > 1) {
                int next = (i + 1) % vms;
                run.add("ring,%d,%d,%d,%s,%d,%d".formatted(vms, i, RING_PORT, ip(i % 2, next), RING_PORT, lapMillis));
                int to = (i + Math.min(2, vms - 1)) % vms;
                run.add("udpseq,recv," + (DATAGRAM_PORT + i));
                run.add("udpseq,send,%s,%d,%d".formatted(ip((i + 1) % 2, to), DATAGRAM_PORT + to, rate));
            } else {
                run.add("clock");
            }
            if (extra != null) {
                run.add(extra);
            }
            specs.add(vm(
                    names.get(i),
                    guest,
                    memory,
                    "hf.nic0=" + ip(0, i) + "/24 hf.nic1=" + ip(1, i) + "/24 hf.run=" + String.join("+", run),
                    SEGMENTS));
        }
        return new NetworkSpec(
                name, SEGMENTS.stream().map(s -> new SegmentSpec(s, null)).toList(), specs, placement);
    }

    /**
     * A VM that boots the guest.
     *
     * @param words of the kernel command line, see ops/guest/README.md
     * @param segments one NIC on each
     */
    static VmSpec vm(String name, Path guest, String memory, String words, List<String> segments) {
        return new VmSpec(
                name,
                1,
                memory,
                Hugepages.off,
                "qemu64",
                "q35",
                Accelerator.auto,
                null,
                guest.resolve("vmlinuz").toString(),
                guest.resolve("initrd.gz").toString(),
                BOOT + " " + words,
                List.of(),
                segments.stream().map(s -> new NicSpec(s, null)).toList(),
                true);
    }

    private static String ip(int segment, int vm) {
        return "10.0." + segment + "." + (vm + 1);
    }
}
