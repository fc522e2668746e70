package io.holdfast.agent.net;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.InstanceNetwork;
import io.holdfast.agent.domain.NetworkFabric;
import io.holdfast.agent.domain.NetworkPlan;
import io.holdfast.agent.domain.NetworkPlan.NicPlan;
import io.holdfast.agent.domain.NetworkPlan.SegmentPlan;
import io.holdfast.agent.domain.NicId;
import io.holdfast.agent.nat.Errno;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.nat.NativeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.jboss.logging.Logger;

/**
 * Builds networks with iproute2 and libholdfast.
 *
 * <p>Per instance: a namespace {@code <prefix><host>-<instance>}, whose loopback device carries the alias {@code holdfast:HOST:INSTANCE} that tells
 * for sure whose it is (host and instance may contain hyphens). In it, numbered in the plan's order: a bridge {@code br<n>} per segment,
 * with VXLAN {@code vx<n>} when other hosts share it; a TAP {@code t<n>} and a hold TAP {@code h<n>} per NIC. The VXLAN device is
 * made in the agent's own namespace as {@code hfx<vni>}, where its underlay stays, and moved.
 */
public final class IpFabric implements NetworkFabric {
    private static final Logger LOG = Logger.getLogger(IpFabric.class);
    private static final Path NETNS = Path.of("/run/netns");
    private static final String ALIAS = "holdfast:";
    /** TUN_F_CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6: a held frame is never cut up. */
    private static final int ALL_OFFLOADS = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40;
    /** Without UDP segmentation, for a kernel before 6.2. */
    private static final int TCP_OFFLOADS = 0x1 | 0x2 | 0x4 | 0x8;

    /** Two 802.1Q tags: what the bridge lets through must fit when it is given back by a packet socket, which counts otherwise. */
    private static final int TAGS = 8;

    private static final int TAP_QUEUE = 4000;
    private static final int HOLD_QUEUE = 10000;
    private static final long ADOPT_PATIENCE_MICROS = 200_000;

    private final String host;
    private final String prefix;
    private final int vxlanPort;
    private final String home;
    private final ObjectMapper json = new ObjectMapper();
    private final Map<String, HostNetwork> open = new ConcurrentHashMap<>();

    /**
     * @param host this host's id
     * @param netnsPrefix begins the name of every namespace
     * @param vxlanPort UDP port of VXLAN, 4789 unless there is a reason
     */
    public IpFabric(String host, String netnsPrefix, int vxlanPort) {
        this(host, netnsPrefix, vxlanPort, null);
    }

    /** For tests that play several hosts in one process: the namespace that has this host's underlay. */
    IpFabric(String host, String netnsPrefix, int vxlanPort, String home) {
        this.home = home;
        this.host = Names.name(host);
        this.prefix = Names.prefix(netnsPrefix);
        this.vxlanPort = vxlanPort;
    }

    private String netns(String instance) {
        return prefix + host + "-" + Names.name(instance);
    }

    @Override
    public InstanceNetwork build(NetworkPlan plan, boolean gatesClosed) throws AgentException {
        String ns = netns(plan.instance());
        try {
            check(plan);
            if (Files.exists(NETNS.resolve(ns))) {
                throw new IOException("namespace " + ns + " exists already");
            }
        } catch (IOException | IllegalArgumentException e) {
            throw HostNetwork.failed("cannot build the network of " + plan.instance(), e);
        }
        try {
            return track(make(plan, ns, gatesClosed));
        } catch (IOException | RuntimeException e) {
            try {
                removeNamespace(ns);
            } catch (IOException x) {
                e.addSuppressed(x);
            }
            throw HostNetwork.failed("cannot build the network of " + plan.instance(), e);
        }
    }

    private HostNetwork track(HostNetwork network) {
        var old = open.put(network.plan().instance(), network);
        if (old != null) {
            old.close();
        }
        return network;
    }

    private static void check(NetworkPlan plan) throws IOException {
        Names.name(plan.host());
        Names.address(plan.underlay());
        for (SegmentPlan s : plan.segments()) {
            if (s.vni() < 1 || s.vni() > 0xffffff || s.mtu() < 68 || s.mtu() > 65_000) {
                throw new IOException("segment " + s.name() + " has a bad vni or mtu");
            }
            s.peers().forEach(p -> Names.address(p.underlay()));
        }
        for (NicPlan n : plan.nics()) {
            segment(plan, n);
        }
    }

    private static int segment(NetworkPlan plan, NicPlan nic) throws IOException {
        for (int i = 0; i < plan.segments().size(); i++) {
            if (plan.segments().get(i).name().equals(nic.segment())) {
                return i;
            }
        }
        throw new IOException("no segment " + nic.segment() + " for " + nic.id());
    }

    private HostNetwork make(NetworkPlan plan, String ns, boolean closed) throws IOException {
        var own = new ArrayList<String>();
        for (int i = 0; i < plan.segments().size(); i++) {
            var s = plan.segments().get(i);
            if (!s.peers().isEmpty()) {
                String temporary = "hfx" + s.vni();
                dropStale(temporary);
                own.add("link add " + temporary + " mtu " + s.mtu() + " type vxlan id " + s.vni() + " local "
                        + plan.underlay() + " dstport " + vxlanPort + " ttl 64 learning");
                own.add("link set " + temporary + " netns " + ns + " name vx" + i);
            }
        }
        try {
            Iproute.run("ip", null, List.of("netns add " + ns));
            Iproute.run("ip", home, own);
        } catch (IOException e) {
            for (var s : plan.segments()) {
                dropStale("hfx" + s.vni());
            }
            throw e;
        }
        int netns = Native.check(Native.lib().hf_netns_open(ns), "open namespace " + ns);
        var taps = new ArrayList<int[]>();
        try {
            quiet(netns);
            var in = new ArrayList<String>();
            in.add("link set lo alias " + ALIAS + host + ":" + plan.instance());
            var flood = new ArrayList<String>();
            for (int i = 0; i < plan.segments().size(); i++) {
                var s = plan.segments().get(i);
                in.add("link add br" + i + " mtu " + s.mtu() + " type bridge stp_state 0 mcast_snooping 0");
                if (!s.peers().isEmpty()) {
                    in.add("link set vx" + i + " master br" + i + " up");
                    s.peers()
                            .forEach(p -> flood.add(
                                    "fdb append 00:00:00:00:00:00 dev vx" + flood(plan, s) + " dst " + p.underlay()));
                }
            }
            var queues = new ArrayList<String>();
            for (int i = 0; i < plan.nics().size(); i++) {
                var nic = plan.nics().get(i);
                int segment = segment(plan, nic);
                int mtu = plan.segments().get(segment).mtu();
                taps.add(new int[] {tap(netns, "t" + i, -1), -1});
                taps.get(i)[1] = hold(netns, "h" + i);
                in.add("link set t" + i + " mtu " + (mtu + TAGS) + " txqueuelen " + TAP_QUEUE);
                in.add("link set h" + i + " mtu " + mtu + " txqueuelen " + HOLD_QUEUE + " up");
                in.add("link set t" + i + " master br" + segment);
                // No queueing discipline: frames go straight to the ring, in order, and every drop is counted there.
                queues.add("qdisc replace dev t" + i + " root noqueue");
                queues.add("qdisc replace dev h" + i + " root noqueue");
            }
            Iproute.run("ip", ns, in);
            Iproute.run("tc", ns, queues);
            Iproute.run("bridge", ns, flood);
            // Gates before links: no frame passes uncounted.
            var network = assemble(plan, netns, taps, closed);
            netns = -1; // the network's now
            try {
                var up = new ArrayList<String>();
                for (int i = 0; i < plan.nics().size(); i++) {
                    up.add("link set t" + i + " up");
                }
                for (int i = 0; i < plan.segments().size(); i++) {
                    up.add("link set br" + i + " up");
                }
                Iproute.run("ip", ns, up);
            } catch (IOException | RuntimeException e) {
                network.close();
                throw e;
            }
            LOG.infof(
                    "instance=%s netns=%s segments=%d nics=%d network built",
                    plan.instance(), ns, plan.segments().size(), plan.nics().size());
            return network;
        } catch (IOException | RuntimeException e) {
            for (int[] pair : taps) {
                Native.close(pair[0]);
                Native.close(pair[1]);
            }
            Native.close(netns);
            throw e;
        }
    }

    private static int flood(NetworkPlan plan, SegmentPlan s) {
        return plan.segments().indexOf(s);
    }

    /** The host takes no part: no IPv6 of its own, and no netfilter on bridged frames (it drops what it takes for malformed). */
    private static void quiet(int netns) throws NativeException {
        set(netns, "net/ipv6/conf/all/disable_ipv6", "1");
        set(netns, "net/ipv6/conf/default/disable_ipv6", "1");
        for (String table : new String[] {"iptables", "ip6tables", "arptables"}) {
            set(netns, "net/bridge/bridge-nf-call-" + table, "0");
        }
    }

    private static void set(int netns, String name, String value) throws NativeException {
        int r = Native.lib().hf_sysctl(netns, name, value);
        if (r != -Errno.ENOENT) { // a kernel without IPv6 or bridge netfilter
            Native.check(r, "set " + name);
        }
    }

    private static int tap(int netns, String name, int offload) throws NativeException {
        return Native.check(Native.lib().hf_tap_create(netns, name, offload), "make TAP " + name);
    }

    private static int hold(int netns, String name) throws NativeException {
        int fd = Native.lib().hf_tap_create(netns, name, ALL_OFFLOADS);
        return fd >= 0 ? fd : tap(netns, name, TCP_OFFLOADS);
    }

    /** Takes the descriptors over, on success only; those in taps that are taken over are set to -1. */
    private static HostNetwork assemble(NetworkPlan plan, int netns, List<int[]> taps, boolean closed)
            throws NativeException {
        var gates = new LinkedHashMap<NicId, Gate>();
        var ports = new LinkedHashMap<String, Integer>();
        try {
            for (int i = 0; i < plan.nics().size(); i++) {
                var nic = plan.nics().get(i);
                int[] pair = taps.get(i);
                int tap = pair[0];
                int hold = pair[1];
                pair[0] = -1;
                pair[1] = -1;
                String name =
                        plan.instance() + "/" + nic.id().vm() + "/" + nic.id().index();
                gates.put(nic.id(), Gate.attach(netns, name, tap, "t" + i, hold, "h" + i, closed));
            }
            for (int i = 0; i < plan.segments().size(); i++) {
                int bridge = Native.check(Native.lib().hf_ifindex(netns, "br" + i), "interface br" + i);
                ports.put(
                        plan.segments().get(i).name(),
                        Native.check(Native.lib().hf_packet_open(netns, bridge, 0, 0, 0), "packet socket on br" + i));
            }
            return new HostNetwork(plan, netns, gates, ports);
        } catch (NativeException | RuntimeException e) {
            gates.values().forEach(Gate::release);
            ports.values().forEach(Native::close);
            throw e;
        }
    }

    @Override
    public InstanceNetwork adopt(NetworkPlan plan, Map<NicId, RemoteFd> tapOwners) throws AgentException {
        String ns = netns(plan.instance());
        int netns = -1;
        var taps = new ArrayList<int[]>();
        try {
            check(plan);
            netns = Native.check(Native.lib().hf_netns_open(ns), "open namespace " + ns);
            var in = new ArrayList<String>();
            var queues = new ArrayList<String>();
            for (int i = 0; i < plan.nics().size(); i++) {
                var nic = plan.nics().get(i);
                var owner = tapOwners.get(nic.id());
                if (owner == null) {
                    // The VM is dead and its TAP gone with it; a new one stands in, so that the instance stays whole.
                    taps.add(new int[] {tap(netns, "t" + i, -1), -1});
                    int segment = segment(plan, nic);
                    in.add("link set t" + i + " mtu "
                            + (plan.segments().get(segment).mtu() + TAGS) + " txqueuelen " + TAP_QUEUE
                            + " master br" + segment + " up");
                    queues.add("qdisc replace dev t" + i + " root noqueue");
                } else {
                    taps.add(new int[] {remote(owner), -1});
                }
                taps.get(i)[1] = hold(netns, "h" + i);
                in.add("link set h" + i + " mtu "
                        + plan.segments().get(segment(plan, nic)).mtu() + " txqueuelen " + HOLD_QUEUE
                        + " up");
                queues.add("qdisc replace dev h" + i + " root noqueue");
            }
            Iproute.run("ip", ns, in);
            Iproute.run("tc", ns, queues);
            var network = assemble(plan, netns, taps, true);
            netns = -1;
            try {
                for (var nic : plan.nics()) {
                    network.gate(nic.id()).adoptCounters(ADOPT_PATIENCE_MICROS);
                }
            } catch (NativeException | RuntimeException e) {
                network.close();
                throw e;
            }
            LOG.infof("instance=%s netns=%s nics=%d network taken over", plan.instance(), ns, taps.size());
            return track(network);
        } catch (IOException | RuntimeException e) {
            for (int[] pair : taps) {
                Native.close(pair[0]);
                Native.close(pair[1]);
            }
            Native.close(netns);
            throw HostNetwork.failed("cannot take over the network of " + plan.instance(), e);
        }
    }

    private static int remote(RemoteFd owner) throws NativeException {
        int pidfd = Native.pidfdOpen(owner.pid());
        try {
            return Native.pidfdGetFd(pidfd, owner.fd());
        } finally {
            Native.close(pidfd);
        }
    }

    @Override
    public void remove(String instance) throws AgentException {
        try {
            String ns = netns(instance);
            var network = open.remove(instance);
            if (network != null) {
                network.close();
            }
            if (!Files.exists(NETNS.resolve(ns))) {
                return;
            }
            Optional<String> owner;
            try {
                owner = owner(ns);
            } catch (IOException e) {
                LOG.warnf("netns=%s is broken: %s", ns, e.getMessage());
                owner = Optional.empty();
            }
            if (owner.isPresent() && !owner.get().equals(host + ":" + instance)) {
                return; // another host's and instance's names make up the same word
            }
            removeNamespace(ns);
            LOG.infof("instance=%s netns=%s network removed", instance, ns);
        } catch (IOException | IllegalArgumentException e) {
            throw HostNetwork.failed("cannot remove the network of " + instance, e);
        }
    }

    /** Its devices first: a VXLAN id is free again at once then, a namespace itself is taken down some time later. */
    private void removeNamespace(String ns) throws IOException {
        if (!Files.exists(NETNS.resolve(ns))) {
            return;
        }
        try {
            var lines = new ArrayList<String>();
            for (var link : json.readTree(Iproute.run(List.of("ip", "-j", "-n", ns, "link", "show"), ""))) {
                String name = link.path("ifname").asText();
                if (name.matches("(vx|br)[0-9]+")) {
                    lines.add("link del " + name);
                }
            }
            Iproute.run("ip", ns, lines);
        } catch (IOException e) {
            LOG.debugf("netns=%s devices not removed one by one: %s", ns, e.getMessage());
        }
        Iproute.run("ip", null, List.of("netns del " + ns));
    }

    private void dropStale(String device) throws IOException {
        int in = home == null ? -1 : Native.check(Native.lib().hf_netns_open(home), "open namespace " + home);
        int index = Native.lib().hf_ifindex(in, device);
        Native.close(in);
        if (index > 0) {
            Iproute.run("ip", home, List.of("link del " + device));
        }
    }

    /** HOST:INSTANCE as the namespace's alias says; empty when it has none. */
    private Optional<String> owner(String ns) throws IOException {
        var links = json.readTree(Iproute.run(List.of("ip", "-j", "-n", ns, "link", "show", "dev", "lo"), ""));
        String alias = links.path(0).path("ifalias").asText("");
        return alias.startsWith(ALIAS) ? Optional.of(alias.substring(ALIAS.length())) : Optional.empty();
    }

    @Override
    public List<String> present() {
        String begin = prefix + host + "-";
        var found = new TreeSet<String>();
        try (var files = Files.newDirectoryStream(NETNS, begin + "*")) {
            for (Path file : files) {
                String ns = file.getFileName().toString();
                String instance = ns.substring(begin.length());
                try {
                    Names.name(instance);
                    if (owner(ns).map((host + ":" + instance)::equals).orElse(true)) {
                        found.add(instance);
                    }
                } catch (IOException | IllegalArgumentException e) {
                    LOG.warnf("netns=%s cannot tell whose it is: %s", ns, e.getMessage());
                }
            }
        } catch (NoSuchFileException e) {
            return List.of(); // no namespace was ever made here
        } catch (IOException e) {
            LOG.warnf("cannot list namespaces: %s", e.getMessage());
        }
        return List.copyOf(found);
    }
}
