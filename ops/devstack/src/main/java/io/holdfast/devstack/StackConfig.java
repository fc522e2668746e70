package io.holdfast.devstack;

import com.fasterxml.jackson.annotation.JsonIgnore;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * What a dev stack looks like. Two stacks live side by side when their names, homes and subnets differ.
 *
 * @param name goes before every namespace ({@code NAME-...}) and root interface ({@code NAME0}): a lower-case letter
 *     and up to 7 more letters or digits
 * @param home the one folder that holds all of the stack's files
 * @param hosts how many hosts, 1 to 99; they are called h1, h2, ...
 * @param subnet first three parts of the underlay's /24, as {@code 10.77.0}
 * @param kafkaPort broker's port at {@link #gateway()}
 * @param s3Port S3 server's port at {@link #gateway()}
 * @param coordinatorPort coordinator's port at {@link #gateway()}
 * @param agentPort each agent's port at its host's address
 * @param storagePort each storage service's port at its host's address
 * @param bootRoots folders that kernels, initrds and read-only disks may lie under
 * @param imageFolderSize per host, the size of a tmpfs mounted as its image folder (as {@code 64m}); hosts not named
 *     have an ordinary folder
 * @param settings further settings, as {@code holdfast.agent.parallelism=1}, given to every service
 */
public record StackConfig(
        String name,
        Path home,
        int hosts,
        String subnet,
        int kafkaPort,
        int s3Port,
        int coordinatorPort,
        int agentPort,
        int storagePort,
        List<Path> bootRoots,
        Map<String, String> imageFolderSize,
        Map<String, String> settings) {
    /** Longest interface name is 15 characters; namespaces of instances carry host and instance after it. */
    private static final String NAME = "[a-z][a-z0-9]{0,7}";

    private static final String SUBNET = "\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}";
    private static final int MAX_HOSTS = 99;
    private static final int FIRST_HOST_ADDRESS = 10;

    /** Refuses what could not work, or could touch something that is not the stack's own. */
    public StackConfig {
        if (!name.matches(NAME)) {
            throw new IllegalArgumentException(
                    "stack name '" + name + "' is not a letter and up to 7 letters or digits");
        }
        if (hosts < 1 || hosts > MAX_HOSTS) {
            throw new IllegalArgumentException("hosts must be 1 to " + MAX_HOSTS + ", not " + hosts);
        }
        if (!subnet.matches(SUBNET)) {
            throw new IllegalArgumentException("subnet '" + subnet + "' is not like 10.77.0 (a /24 is used)");
        }
        home = home.toAbsolutePath().normalize();
        if (home.getNameCount() < 2) {
            throw new IllegalArgumentException("home " + home + " is too near the root of the file system");
        }
        bootRoots = List.copyOf(bootRoots);
        imageFolderSize = Map.copyOf(imageFolderSize);
        settings = Map.copyOf(settings);
    }

    /** The user's stack: named {@code hfd}, with 3 hosts, in the environment's HOLDFAST_HOME or /var/lib/holdfast-dev. */
    public static StackConfig standard() {
        String home = System.getenv().getOrDefault("HOLDFAST_HOME", "/var/lib/holdfast-dev");
        return of("hfd", Path.of(home), "10.77.0");
    }

    /** A stack of 3 hosts with the usual ports, which may boot what lies under its home or the checkout. */
    public static StackConfig of(String name, Path home, String subnet) {
        Path absolute = home.toAbsolutePath().normalize();
        return new StackConfig(
                name,
                absolute,
                3,
                subnet,
                9092,
                9000,
                8080,
                8081,
                8082,
                List.of(absolute.resolve("boot"), RepoRoot.find()),
                Map.of(),
                Map.of());
    }

    /** The same with another number of hosts. */
    public StackConfig withHosts(int number) {
        return new StackConfig(
                name,
                home,
                number,
                subnet,
                kafkaPort,
                s3Port,
                coordinatorPort,
                agentPort,
                storagePort,
                bootRoots,
                imageFolderSize,
                settings);
    }

    /** The same with one host's image folder on a tmpfs of this size (as {@code 64m}), to see it run full. */
    public StackConfig withImageFolderSize(String host, String size) {
        Map<String, String> sizes = new java.util.HashMap<>(imageFolderSize);
        sizes.put(host, size);
        return new StackConfig(
                name,
                home,
                hosts,
                subnet,
                kafkaPort,
                s3Port,
                coordinatorPort,
                agentPort,
                storagePort,
                bootRoots,
                sizes,
                settings);
    }

    /** The same with one more setting for every service. */
    public StackConfig withSetting(String key, String value) {
        Map<String, String> more = new java.util.HashMap<>(settings);
        more.put(key, value);
        return new StackConfig(
                name,
                home,
                hosts,
                subnet,
                kafkaPort,
                s3Port,
                coordinatorPort,
                agentPort,
                storagePort,
                bootRoots,
                imageFolderSize,
                more);
    }

    /** Names of the hosts: h1, h2, ... */
    @JsonIgnore
    public List<String> hostNames() {
        List<String> names = new ArrayList<>();
        for (int i = 1; i <= hosts; i++) {
            names.add("h" + i);
        }
        return names;
    }

    /** The address of the machine itself on the underlay: broker, S3 and coordinator listen there. */
    @JsonIgnore
    public String gateway() {
        return subnet + ".1";
    }

    /** A host's address on the underlay. */
    public String address(String host) {
        return subnet + "." + (FIRST_HOST_ADDRESS + Integer.parseInt(host.substring(1)));
    }

    /** The namespace of a host. */
    public String namespace(String host) {
        return name + "-" + host;
    }

    /** The namespace that holds the underlay's bridge. */
    @JsonIgnore
    public String underlayNamespace() {
        return name + "-net";
    }

    /** The root namespace's only interface of this stack. */
    @JsonIgnore
    public String rootInterface() {
        return name + "0";
    }

    /** Whether a namespace is one that this stack makes, or its agents make for their instances. */
    public boolean owns(String namespace) {
        return namespace.equals(underlayNamespace()) || namespace.matches(name + "-h\\d{1,2}(-.*)?");
    }

    /** Whether a namespace is one that this stack's agents make for their instances. */
    public boolean isInstanceNamespace(String namespace) {
        return namespace.matches(name + "-h\\d{1,2}-.+");
    }

    /** For Kafka clients. */
    @JsonIgnore
    public String bootstrapServers() {
        return gateway() + ":" + kafkaPort;
    }

    /** For S3 clients. */
    @JsonIgnore
    public String s3Endpoint() {
        return "http://" + gateway() + ":" + s3Port;
    }

    /** The coordinator's base URL, without a slash at its end. */
    @JsonIgnore
    public String coordinatorUrl() {
        return "http://" + gateway() + ":" + coordinatorPort;
    }

    /** A host's image folder. */
    public Path imageFolder(String host) {
        return home.resolve("hosts").resolve(host).resolve("images");
    }

    /** A host's agent state folder. */
    public Path stateFolder(String host) {
        return home.resolve("hosts").resolve(host).resolve("state");
    }

    /** A host's storage service's state folder. */
    public Path storageFolder(String host) {
        return home.resolve("hosts").resolve(host).resolve("storage");
    }

    /** A process's log. */
    public Path log(String process) {
        return home.resolve("logs").resolve(process + ".log");
    }

    /** Where an agent's JVM tells of the times in which it stood. */
    public Path safepoints(String process) {
        return home.resolve("logs").resolve(process + ".safepoints");
    }
}
