package io.holdfast.cli;

import io.holdfast.schemas.event.ArchiveFigures;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.view.CheckpointView;
import io.holdfast.schemas.view.EventLine;
import io.holdfast.schemas.view.HostView;
import io.holdfast.schemas.view.InstanceView;
import io.holdfast.schemas.view.OperationView;
import io.holdfast.schemas.view.RequestAccepted;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.BiConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** The commands that speak with the coordinator. */
final class Commands {
    private Commands() {}

    /** Options of commands that start an operation. */
    static final class Waiting {
        @Option(names = "--no-wait", description = "Do not wait for the end; prints the operation's id.")
        private boolean noWait;

        @Option(
                names = "--timeout",
                paramLabel = "SECONDS",
                description = "How long to wait at most (default: ${DEFAULT-VALUE}); the operation goes on.",
                defaultValue = "600")
        private int timeout;

        @Option(
                names = "--request-id",
                paramLabel = "ID",
                description = "The request's id; the same id again does nothing twice.")
        private String requestId;

        /** Sends the request and, unless told not to, waits; null when not waiting. */
        OperationView run(Main main, Request request) {
            RequestAccepted accepted = main.api().request(request, requestId);
            if (noWait) {
                if (main.json()) {
                    main.writeJson(accepted);
                } else {
                    main.out().println(accepted.operation());
                }
                return null;
            }
            OperationView end = new Waiter(main.api(), Waiter.lines(main.progress()))
                    .end(accepted.operation(), Duration.ofSeconds(timeout));
            if (main.json()) {
                main.writeJson(end);
            }
            return Waiter.check(end);
        }
    }

    @Command(
            name = "apply",
            description = {
                "Deploys the network that FILE (YAML or JSON) describes.",
                "$${NAME} in it is replaced by the environment variable NAME."
            },
            mixinStandardHelpOptions = true)
    static final class Apply extends OperationCommand {
        @Parameters(paramLabel = "FILE", description = "The spec; - is standard input.")
        private String file;

        @Option(names = "--as", paramLabel = "NAME", description = "Name of the instance (default: the network's).")
        private String instance;

        @Option(names = "--dry-run", description = "Only check the spec; prints it with every default filled in.")
        private boolean dryRun;

        @Override
        public Integer call() throws IOException {
            if (dryRun) {
                main().writeJson(spec());
                return 0;
            }
            return super.call();
        }

        @Override
        Request request() throws IOException {
            return new Request.Deploy(spec(), instance);
        }

        private NetworkSpec spec() throws IOException {
            String text = file.equals("-")
                    ? new String(System.in.readAllBytes(), StandardCharsets.UTF_8)
                    : Files.readString(Path.of(file));
            return main().api().validate(withVariables(text));
        }

        @Override
        void print(OperationView end, PrintStream out) {
            out.println(end.instance() + " runs");
            main().api().instance(end.instance()).ifPresent(i -> vms(i, out));
        }
    }

    private static final Pattern VARIABLE = Pattern.compile("\\$\\{([A-Z][A-Z0-9_]*)}");

    /** A spec's text with each {@code ${NAME}} replaced by the environment variable; HOLDFAST_GUEST is the dev stack's too. */
    static String withVariables(String text) {
        return VARIABLE.matcher(text).replaceAll(m -> {
            String value = System.getenv(m.group(1));
            if (value == null && m.group(1).equals("HOLDFAST_GUEST")) {
                value = DevStackFiles.guest().orElse(null);
            }
            if (value == null) {
                throw new ApiException(
                        ApiException.Kind.REJECTED,
                        "the spec names ${" + m.group(1) + "}, which is not set\n  -> set it in the environment");
            }
            return Matcher.quoteReplacement(value);
        });
    }

    @Command(name = "list", description = "Lists the instances.", mixinStandardHelpOptions = true)
    static final class ListInstances implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Override
        public Integer call() {
            List<InstanceView> all = main.api().instances();
            if (main.json()) {
                main.writeJson(all);
                return 0;
            }
            Table t = new Table("INSTANCE", "NETWORK", "STATE", "VMS", "HOSTS", "OPERATION", "AGE");
            all.stream()
                    .sorted(Comparator.comparing(InstanceView::instance))
                    .forEach(i -> t.row(
                            i.instance(),
                            i.network(),
                            i.state(),
                            i.vms().size(),
                            String.join(",", i.hosts()),
                            i.operation(),
                            Text.ago(i.runningSince(), Instant.now())));
            t.print(main.out());
            return 0;
        }
    }

    @Command(name = "show", description = "Shows an instance with its VMs.", mixinStandardHelpOptions = true)
    static final class Show implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Parameters(paramLabel = "NAME")
        private String name;

        @Override
        public Integer call() {
            InstanceView i = main.api().instance(name).orElseThrow(() -> notFound("instance", name, "list"));
            if (main.json()) {
                main.writeJson(i);
                return 0;
            }
            main.out().printf("%s of network %s: %s%n", i.instance(), i.network(), i.state());
            if (i.operation() != null) {
                main.out().println("at work on it: " + i.operation());
            }
            vms(i, main.out());
            return 0;
        }
    }

    @Command(
            name = "checkpoint",
            description = "Takes a checkpoint of a running instance; or shows one.",
            mixinStandardHelpOptions = true,
            subcommands = CheckpointShow.class)
    static final class CheckpointCommand extends OperationCommand {
        @Parameters(paramLabel = "NAME", arity = "0..1", description = "The instance.")
        private String name;

        @Option(names = "--label", paramLabel = "TEXT", description = "What it is for, at most 200 characters.")
        private String label;

        @Override
        Request request() {
            if (name == null) {
                throw misused("Missing required parameter: NAME");
            }
            return new Request.Checkpoint(name, label);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            out.println(end.checkpoint());
            main().api()
                    .checkpoint(end.checkpoint())
                    .ifPresent(c -> Figures.vms(c.manifest().cut(), out));
            archive(end, out);
        }
    }

    @Command(
            name = "show",
            description = "Shows a checkpoint: figures of its cut, per VM, NIC and host.",
            mixinStandardHelpOptions = true)
    static final class CheckpointShow implements Callable<Integer> {
        @ParentCommand
        private CheckpointCommand parent;

        @Parameters(paramLabel = "CHECKPOINT")
        private String id;

        @Option(names = "--trace", description = "Show each step of the cut on every host, in microseconds.")
        private boolean trace;

        @Override
        public Integer call() {
            Main main = parent.main();
            CheckpointView c = main.api().checkpoint(id).orElseThrow(() -> notFound("checkpoint", id, "checkpoints"));
            if (main.json()) {
                main.writeJson(c);
                return 0;
            }
            PrintStream out = main.out();
            out.printf(
                    "%s of %s%s, taken %s%n",
                    c.checkpoint(),
                    c.instance(),
                    c.label() == null ? "" : " (" + c.label() + ")",
                    Text.time(c.takenAt()));
            out.printf("manifest %s sha256 %s%n%n", c.manifestKey(), c.manifestSha256());
            CutFigures cut = c.manifest().cut();
            List<BiConsumer<CutFigures, PrintStream>> tables =
                    List.of(Figures::vms, Figures::times, Figures::nics, Figures::hosts, Figures::cookies);
            tables.forEach(t -> {
                t.accept(cut, out);
                out.println();
            });
            if (trace) {
                Figures.trace(cut, out);
                out.println();
            }
            Table t = new Table("VM", "MEMORY", "MACHINE", "CPU", "ACCELERATOR", "HUGE PAGES", "QEMU");
            c.manifest().machines().forEach(m -> {
                var vm = c.manifest().layout().spec().vm(m.vm());
                t.row(
                        m.vm(),
                        vm.memory(),
                        vm.machine(),
                        vm.cpu(),
                        m.accelerator(),
                        m.hugepages() ? "yes" : "no",
                        m.qemu());
            });
            t.print(out);
            out.println();
            Table digests = new Table("VM", "MANIFEST", "SHA-256");
            c.manifest().vms().forEach(a -> digests.row(a.vm(), a.manifestKey(), a.manifestSha256()));
            digests.print(out);
            if (c.operation() != null) {
                main.api().operation(c.operation()).ifPresent(o -> archive(o, out));
            }
            return 0;
        }
    }

    @Command(name = "checkpoints", description = "Lists the checkpoints.", mixinStandardHelpOptions = true)
    static final class Checkpoints implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Parameters(paramLabel = "NAME", arity = "0..1", description = "Only those of that instance.")
        private String name;

        @Override
        public Integer call() {
            List<CheckpointView> all = main.api().checkpoints().stream()
                    .filter(c -> name == null || name.equals(c.instance()))
                    .sorted(Comparator.comparing(CheckpointView::takenAt).reversed())
                    .toList();
            if (main.json()) {
                main.writeJson(all);
                return 0;
            }
            Table t =
                    new Table("CHECKPOINT", "INSTANCE", "TAKEN", "VMS", "PAUSE", "SKEW", "IN FLIGHT", "HELD", "LABEL");
            all.forEach(c -> t.row(
                    c.checkpoint(),
                    c.instance(),
                    Text.time(c.takenAt()),
                    c.manifest().vms().size(),
                    Text.micros(c.manifest().cut().longestPauseMicros()),
                    Text.micros(c.manifest().cut().skewMicros()),
                    c.manifest().cut().framesInFlight(),
                    c.held() ? "yes" : null,
                    c.label()));
            t.print(main.out());
            return 0;
        }
    }

    @Command(name = "restore", description = "Restarts a checkpoint, on any hosts.", mixinStandardHelpOptions = true)
    static final class Restore extends OperationCommand {
        @Parameters(paramLabel = "CHECKPOINT")
        private String checkpoint;

        @Option(
                names = "--as",
                paramLabel = "NAME",
                description = "Name of the instance (default: the one checkpointed).")
        private String instance;

        @Option(
                names = "--place",
                paramLabel = "VM=HOST",
                split = ",",
                description = "Hosts of VMs; the others are chosen. May be repeated.")
        private final Map<String, String> place = new LinkedHashMap<>();

        @Option(names = "--replace", description = "Destroy a running instance of that name first.")
        private boolean replace;

        @Override
        Request request() {
            return new Request.Restore(checkpoint, instance, place.isEmpty() ? null : place, replace);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            out.println(end.instance() + " runs; " + phases(end));
            main().api().instance(end.instance()).ifPresent(i -> vms(i, out));
        }
    }

    @Command(
            name = "destroy",
            description = "Removes an instance with everything it has. Checkpoints stay.",
            mixinStandardHelpOptions = true)
    static final class Destroy extends OperationCommand {
        @Parameters(paramLabel = "NAME")
        private String name;

        @Option(names = "--force", description = "Leave out hosts that do not answer.")
        private boolean force;

        @Override
        Request request() {
            return new Request.Destroy(name, force);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            out.println(name + " is gone");
        }
    }

    @Command(name = "hosts", description = "Lists the hosts.", mixinStandardHelpOptions = true)
    static final class Hosts implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Override
        public Integer call() {
            List<HostView> all = main.api().hosts();
            if (main.json()) {
                main.writeJson(all);
                return 0;
            }
            Table t = new Table(
                    "HOST",
                    "STATE",
                    "AGENT",
                    "STORAGE",
                    "UNDERLAY",
                    "QEMU",
                    "ACCELERATOR",
                    "CPUS",
                    "MEMORY FREE",
                    "IMAGES FREE",
                    "VMS",
                    "BUCKET");
            all.stream().sorted(Comparator.comparing(HostView::host)).forEach(h -> {
                Heartbeat.Agent a = h.agent();
                t.row(
                        h.host(),
                        h.state(),
                        seen(h.agentAlive(), h.agentSeen()),
                        seen(h.storageAlive(), h.storageSeen()),
                        a == null ? null : a.underlay(),
                        a == null ? null : a.qemu(),
                        a == null ? null : a.accelerator(),
                        a == null ? null : a.cpus(),
                        a == null ? null : Text.bytes(a.memoryFreeBytes()),
                        a == null ? null : Text.bytes(a.imageFreeBytes()),
                        a == null
                                ? null
                                : a.instances().stream()
                                        .mapToInt(i -> i.vms().size())
                                        .sum(),
                        h.storage() == null
                                ? null
                                : h.storage().bucket() + (h.storage().reachable() ? "" : " (unreachable)"));
            });
            t.print(main.out());
            Map<String, List<String>> reasons = new TreeMap<>();
            all.stream()
                    .filter(h -> h.agent() != null && h.agent().acceleratorReason() != null)
                    .forEach(h -> reasons.computeIfAbsent(
                                    h.agent().accelerator() + " because: "
                                            + h.agent().acceleratorReason(),
                                    r -> new ArrayList<>())
                            .add(h.host()));
            reasons.forEach((reason, hosts) -> {
                hosts.sort(null);
                main.out().println(String.join(", ", hosts) + ": " + reason);
            });
            return 0;
        }
    }

    @Command(name = "operations", description = "Lists the operations, newest first.", mixinStandardHelpOptions = true)
    static final class Operations implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Parameters(paramLabel = "NAME", arity = "0..1", description = "Only those of that instance.")
        private String name;

        @Override
        public Integer call() {
            List<OperationView> all = main.api().operations().stream()
                    .filter(o -> name == null || name.equals(o.instance()))
                    .sorted(Comparator.comparing(
                                    OperationView::startedAt, Comparator.nullsFirst(Comparator.<Instant>naturalOrder()))
                            .reversed())
                    .toList();
            if (main.json()) {
                main.writeJson(all);
                return 0;
            }
            Table t = new Table("OPERATION", "KIND", "INSTANCE", "STATE", "PHASE", "STARTED", "TOOK", "CODE");
            all.forEach(o -> t.row(
                    o.operation(),
                    o.kind(),
                    o.instance(),
                    o.state(),
                    o.phase(),
                    Text.time(o.startedAt()),
                    o.startedAt() == null || o.endedAt() == null
                            ? null
                            : Text.millis(
                                    Duration.between(o.startedAt(), o.endedAt()).toMillis()),
                    o.code() != null
                            ? o.code()
                            : o.problems().isEmpty()
                                    ? null
                                    : o.problems().get(0).code()));
            t.print(main.out());
            return 0;
        }
    }

    @Command(name = "operation", description = "Shows an operation.", mixinStandardHelpOptions = true)
    static final class Operation implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Parameters(paramLabel = "ID")
        private String id;

        @Override
        public Integer call() {
            OperationView o = main.api().operation(id).orElseThrow(() -> notFound("operation", id, "operations"));
            if (main.json()) {
                main.writeJson(o);
                return 0;
            }
            PrintStream out = main.out();
            out.printf("%s: %s of %s: %s%n", o.operation(), o.kind(), o.instance(), o.state());
            out.printf("request %s of %s%n", o.requestId(), o.requestSource());
            if (o.checkpoint() != null) {
                out.println("checkpoint " + o.checkpoint());
            }
            if (o.state().equals("running")) {
                out.println("phase " + o.phase());
            }
            if (!o.phases().isEmpty()) {
                out.println("phases: " + phases(o));
            }
            o.problems().forEach(p -> out.println(ApiException.text(p)));
            if (o.code() != null) {
                out.println("failed in phase " + o.phase() + ": " + o.code() + ": " + o.message());
                o.hosts().forEach(h -> out.println("  " + h.host() + ": " + h.code() + ": " + h.message()));
                if (o.remedy() != null) {
                    out.println("  -> " + o.remedy());
                }
            }
            archive(o, out);
            return 0;
        }
    }

    @Command(
            name = "watch",
            description =
                    "Shows public events, the latest and then as they come: of all, of an instance, or of an operation until it ends.",
            mixinStandardHelpOptions = true)
    static final class Watch implements Callable<Integer> {
        @ParentCommand
        private Main main;

        @Parameters(paramLabel = "NAME|OPERATION", arity = "0..1")
        private String what;

        @Override
        public Integer call() {
            boolean operation = what != null && what.matches("op-[0-9a-f]{16}");
            boolean[] failed = new boolean[1];
            main.api().events(operation ? null : what, operation ? what : null, true, e -> {
                show(e);
                if (operation && Waiter.isEnd(e)) {
                    failed[0] = !e.type().contains(".completed.");
                    return false;
                }
                return true;
            });
            return failed[0] ? ApiException.Kind.FAILED.exitCode() : 0;
        }

        private void show(EventLine e) {
            if (main.json()) {
                try {
                    main.out().println(Api.json().writeValueAsString(e));
                } catch (com.fasterxml.jackson.core.JsonProcessingException x) {
                    throw new java.io.UncheckedIOException(x);
                }
            } else {
                Waiter.describe(e).ifPresent(line -> main.out()
                        .println(Text.time(e.time()) + "  " + (e.subject() == null ? "" : e.subject() + "  ") + line));
            }
        }
    }

    private static String seen(boolean alive, Instant last) {
        return alive ? "alive" : last == null ? "never seen" : "gone " + Text.ago(last, Instant.now());
    }

    /** An instance's VMs as a table. */
    static void vms(InstanceView i, PrintStream out) {
        Table t = new Table("VM", "HOST", "STATE", "PID", "ACCELERATOR", "HUGE PAGES", "QEMU", "REASON");
        i.vms().stream()
                .sorted(Comparator.comparing(InstanceView.VmView::vm))
                .forEach(v -> t.row(
                        v.vm(),
                        v.host(),
                        v.state(),
                        v.pid() == 0 ? null : v.pid(),
                        v.accelerator(),
                        v.hugepages() ? "yes" : "no",
                        v.qemu(),
                        v.reason()));
        t.print(out);
    }

    /** {@code pull 310 ms, load 420 ms, ...}. */
    static String phases(OperationView o) {
        return o.phases().entrySet().stream()
                .map(e -> e.getKey() + " " + Text.millis(e.getValue()))
                .reduce((a, b) -> a + ", " + b)
                .orElse("");
    }

    /** What the archive step of a checkpoint moved, if the operation tells. */
    static void archive(OperationView o, PrintStream out) {
        if (o.completed() == null || !o.completed().has("archive")) {
            return;
        }
        Table t = new Table("HOST", "IMAGES", "DATA", "NEW", "STORED", "TIME");
        o.completed().get("archive").forEach(n -> {
            ArchiveFigures a = Api.json().convertValue(n, ArchiveFigures.class);
            t.row(
                    a.host(),
                    Text.bytes(a.logicalBytes()),
                    Text.bytes(a.dataBytes()),
                    Text.bytes(a.newBytes()),
                    Text.bytes(a.storedBytes()),
                    Text.millis(a.durationMillis()));
        });
        out.println();
        t.print(out);
    }

    static ApiException notFound(String what, String name, String command) {
        return new ApiException(
                ApiException.Kind.NOT_FOUND, "no " + what + " '" + name + "'\n  -> see: holdfast " + command);
    }
}
