package io.holdfast.devstack;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The network between a stack's hosts: one bridge in a namespace of its own, one veth to each host's namespace, and one
 * to the root namespace.
 *
 * <p>The bridge is not in the root namespace, so that no packet filter of the machine (a container engine's, say) sees
 * what hosts say to each other.
 */
final class Underlay {
    /** Room for guests' 1500-byte frames in VXLAN, and for jumbo segments. */
    private static final String MTU = "9000";

    private static final Path NETNS = Path.of("/run/netns");

    private final StackConfig config;

    Underlay(StackConfig config) {
        this.config = config;
    }

    /** Namespaces on this machine that carry this stack's names. */
    List<String> namespaces() {
        if (!Files.isDirectory(NETNS)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(NETNS)) {
            return files.map(p -> p.getFileName().toString())
                    .filter(config::owns)
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * Refuses to come up over something that is not this stack's.
     *
     * @throws IllegalStateException saying what is in the way and what to do
     */
    void requireFree() {
        List<String> there = namespaces();
        if (!there.isEmpty()) {
            throw new IllegalStateException("network namespaces " + there + " exist, but " + config.home()
                    + " records no stack: another stack of the same name? Choose another name, or remove them with"
                    + " ./holdfast down --force");
        }
        if (Files.exists(Path.of("/sys/class/net", config.rootInterface()))) {
            throw new IllegalStateException("an interface " + config.rootInterface()
                    + " exists and is not this stack's: choose another stack name");
        }
        String used = Commands.run("ip", "-4", "route", "show", "root", config.subnet() + ".0/24");
        if (!used.isEmpty()) {
            throw new IllegalStateException("the machine already routes within " + config.subnet() + ".0/24 (" + used
                    + "): choose another with --subnet");
        }
    }

    /** Builds namespaces, bridge and veths. */
    void build() {
        String net = config.underlayNamespace();
        add(net);
        Commands.run(
                "ip",
                "-n",
                net,
                "link",
                "add",
                "br0",
                "mtu",
                MTU,
                "type",
                "bridge",
                "stp_state",
                "0",
                "mcast_snooping",
                "0");
        Commands.run("ip", "-n", net, "link", "set", "br0", "up");
        Commands.run(
                "ip",
                "link",
                "add",
                config.rootInterface(),
                "mtu",
                MTU,
                "type",
                "veth",
                "peer",
                "name",
                "root",
                "mtu",
                MTU,
                "netns",
                net);
        plug("root");
        quiet(null, config.rootInterface());
        Commands.run("ip", "addr", "add", config.gateway() + "/24", "dev", config.rootInterface());
        Commands.run("ip", "link", "set", config.rootInterface(), "up");
        for (String host : config.hostNames()) {
            String namespace = config.namespace(host);
            add(namespace);
            Commands.run(
                    "ip", "-n", namespace, "link", "add", "up0", "mtu", MTU, "type", "veth", "peer", "name", host,
                    "mtu", MTU, "netns", net);
            plug(host);
            quiet(namespace, "up0");
            Commands.run("ip", "-n", namespace, "addr", "add", config.address(host) + "/24", "dev", "up0");
            Commands.run("ip", "-n", namespace, "link", "set", "up0", "up");
        }
    }

    private static void add(String namespace) {
        Commands.run("ip", "netns", "add", namespace);
        Commands.run("ip", "-n", namespace, "link", "set", "lo", "up");
    }

    private void plug(String port) {
        Commands.run("ip", "-n", config.underlayNamespace(), "link", "set", port, "master", "br0", "up");
    }

    /** No IPv6 addresses of its own: nothing but the stack's traffic is on the underlay. */
    private static void quiet(String namespace, String device) {
        List<String> command = new ArrayList<>(List.of("ip"));
        if (namespace != null) {
            command.addAll(List.of("-n", namespace));
        }
        command.addAll(List.of("link", "set", device, "addrgenmode", "none"));
        Commands.run(command.toArray(String[]::new));
    }

    /** Pids of all processes in this stack's namespaces: agents, storage services and VMs. */
    List<Long> processes() {
        List<Long> pids = new ArrayList<>();
        for (String namespace : namespaces()) {
            pids.addAll(processes(namespace));
        }
        return pids;
    }

    /** Pids of the processes in one namespace; empty when it does not exist. */
    static List<Long> processes(String namespace) {
        Commands.Result result = Commands.tryRun(List.of("ip", "netns", "pids", namespace));
        return result.status() == 0
                ? result.output().lines().map(String::strip).map(Long::valueOf).toList()
                : List.of();
    }

    /** Removes whatever there is of it, and the namespaces that agents left behind. */
    void remove() {
        for (String namespace : namespaces()) {
            Commands.run("ip", "netns", "delete", namespace);
        }
        // The veth went with its peer; the kernel does that a moment later.
        if (Files.exists(Path.of("/sys/class/net", config.rootInterface()))) {
            Commands.tryRun(List.of("ip", "link", "delete", config.rootInterface()));
        }
    }
}
