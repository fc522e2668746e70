package io.holdfast.devstack;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * The dev stack's commands, called by the launcher: {@code up}, {@code down}, {@code status}, {@code start PROCESS},
 * {@code stop PROCESS}, {@code kill PROCESS}. Exit status 0 when done, 1 when it failed (for status: when not all is
 * well), 2 for wrong usage.
 */
public final class DevStackMain {
    private static final String USAGE = """
            usage: holdfast up [--hosts N] [--name NAME] [--home FOLDER] [--subnet 10.77.0] [--boot-root FOLDER]...
                   holdfast down [--keep] [--force]    removes the stack; --keep leaves logs and data; --force also
                                                       when its home records no stack
                   holdfast status                     processes, addresses, logs
                   holdfast stack start|stop|kill PROCESS""";

    private DevStackMain() {}

    /** Runs one command. */
    public static void main(String[] args) {
        System.exit(run(List.of(args)));
    }

    private static int run(List<String> args) {
        try {
            return dispatch(args);
        } catch (IllegalArgumentException e) {
            System.err.println(e.getMessage());
            System.err.println(USAGE);
            return 2;
        } catch (IllegalStateException | java.io.UncheckedIOException e) {
            System.err.println("error: " + e.getMessage());
            return 1;
        }
    }

    private static int dispatch(List<String> args) {
        if (args.isEmpty()) {
            throw new IllegalArgumentException("no command given");
        }
        StackConfig standard = StackConfig.standard();
        String name = standard.name();
        Path home = standard.home();
        String subnet = standard.subnet();
        int hosts = standard.hosts();
        boolean hostsGiven = false;
        boolean keep = false;
        boolean force = false;
        List<Path> roots = new ArrayList<>();
        List<String> words = new ArrayList<>();
        for (Iterator<String> rest = args.iterator(); rest.hasNext(); ) {
            String arg = rest.next();
            switch (arg) {
                case "--hosts" -> {
                    hosts = number(value(arg, rest));
                    hostsGiven = true;
                }
                case "--name" -> name = value(arg, rest);
                case "--home" -> home = Path.of(value(arg, rest)).toAbsolutePath();
                case "--subnet" -> subnet = value(arg, rest);
                case "--boot-root" -> roots.add(Path.of(value(arg, rest)).toAbsolutePath());
                case "--keep" -> keep = true;
                case "--force" -> force = true;
                default -> {
                    if (arg.startsWith("-")) {
                        throw new IllegalArgumentException("unknown option " + arg);
                    }
                    words.add(arg);
                }
            }
        }
        StackConfig plain = StackConfig.of(name, home, subnet).withHosts(hosts);
        roots.addAll(0, plain.bootRoots());
        StackConfig config = new StackConfig(
                plain.name(),
                plain.home(),
                plain.hosts(),
                plain.subnet(),
                plain.kafkaPort(),
                plain.s3Port(),
                plain.coordinatorPort(),
                plain.agentPort(),
                plain.storagePort(),
                roots,
                plain.imageFolderSize(),
                plain.settings());
        return switch (words.get(0)) {
            case "up" -> up(config, hostsGiven);
            case "down" -> down(config, keep, force);
            case "status" -> status(config);
            case "train" -> train();
            case "start", "stop", "kill" -> one(config, words);
            default -> throw new IllegalArgumentException("unknown command " + words.get(0));
        };
    }

    private static int up(StackConfig wanted, boolean hostsGiven) {
        long start = System.nanoTime();
        StackConfig config = DevStack.open(wanted.home())
                .filter(s -> !hostsGiven)
                .map(DevStack::config)
                .orElse(wanted);
        DevStack stack = DevStack.up(config, line -> System.err.println("  " + line));
        double seconds = (System.nanoTime() - start) / 1e9;
        System.out.println(String.format(
                Locale.ROOT,
                "up in %.1f s: %d hosts, Kafka %s, S3 %s, coordinator %s",
                seconds,
                config.hosts(),
                config.bootstrapServers(),
                config.s3Endpoint(),
                config.coordinatorUrl()));
        System.out.println("files and logs: " + stack.config().home() + "; take it down with ./holdfast down");
        return 0;
    }

    private static int train() {
        DevStack.train(StackConfig.of("hftrain", RepoRoot.find().resolve(".holdfast/train"), "10.94.0"));
        return 0;
    }

    private static int down(StackConfig config, boolean keep, boolean force) {
        Optional<DevStack> stack = DevStack.open(config.home());
        if (stack.isPresent()) {
            stack.get().down(keep);
            System.out.println("down: " + (keep ? "files are kept in " + config.home() : "nothing is left"));
        } else if (force) {
            DevStack.removeUnrecorded(config);
            System.out.println("removed what carried the names of stack " + config.name());
        } else {
            System.out.println("no stack is up in " + config.home());
        }
        return 0;
    }

    private static int status(StackConfig config) {
        Optional<DevStack> open = DevStack.open(config.home());
        if (open.isEmpty()) {
            System.out.println("no stack is up in " + config.home() + "; bring one up with ./holdfast up");
            return 1;
        }
        DevStack stack = open.get();
        StackConfig c = stack.config();
        List<String> unready = stack.unready();
        System.out.println("stack " + c.name() + ": Kafka " + c.bootstrapServers() + ", S3 " + c.s3Endpoint()
                + ", coordinator " + c.coordinatorUrl());
        System.out.println(String.format(Locale.ROOT, "%-14s %8s  %-9s %s", "PROCESS", "PID", "STATE", "LOG"));
        for (String name : stack.processNames()) {
            Optional<ProcessIds> ids = stack.process(name);
            String state = ids.isEmpty() ? "down" : unready.contains(name) ? "not ready" : "ready";
            System.out.println(String.format(
                    Locale.ROOT,
                    "%-14s %8s  %-9s %s",
                    name,
                    ids.map(i -> Long.toString(i.pid())).orElse("-"),
                    state,
                    c.log(name)));
        }
        for (String host : c.hostNames()) {
            System.out.println("host " + host + " " + c.address(host) + ": "
                    + stack.vmPids(host).size() + " VMs");
        }
        return unready.isEmpty() ? 0 : 1;
    }

    private static int one(StackConfig config, List<String> words) {
        if (words.size() != 2) {
            throw new IllegalArgumentException(words.get(0) + " needs one process name");
        }
        DevStack stack = DevStack.open(config.home())
                .orElseThrow(() -> new IllegalStateException("no stack is up in " + config.home()));
        switch (words.get(0)) {
            case "start" -> stack.start(words.get(1));
            case "stop" -> stack.stop(words.get(1));
            default -> stack.kill(words.get(1));
        }
        return 0;
    }

    private static String value(String option, Iterator<String> rest) {
        if (!rest.hasNext()) {
            throw new IllegalArgumentException(option + " needs a value");
        }
        return rest.next();
    }

    private static int number(String text) {
        try {
            return Integer.parseInt(text);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("'" + text + "' is not a number", e);
        }
    }
}
