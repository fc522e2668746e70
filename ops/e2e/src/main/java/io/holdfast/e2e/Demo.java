package io.holdfast.e2e;

import io.holdfast.cli.Api;
import io.holdfast.cli.Figures;
import io.holdfast.cli.Table;
import io.holdfast.cli.Text;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.view.InstanceView;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * {@code ./holdfast demo}: a network of four VMs is deployed on two of three hosts, checkpointed by an event while its frames
 * flow, lost with its local images, and restarted on other hosts, twice. Exit status 0 only if all of it held.
 */
public final class Demo {
    private static final String NAME = "demo";
    private static final int VMS = 4;
    private static final String MEMORY = "256MiB";
    private static final int RATE = 200;
    private static final int LAP_MILLIS = 40;
    private static final Duration LONG = Duration.ofMinutes(2);

    private final PrintStream out;
    private final long began = System.nanoTime();
    private final Map<String, Duration> steps = new LinkedHashMap<>();
    private final List<String> problems = new ArrayList<>();

    private Demo(PrintStream out) {
        this.out = out;
    }

    /** Ends the JVM with 0 if all held, else 1. */
    public static void main(String[] args) {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.exit(new Demo(out).run());
    }

    private int run() {
        out.println("""
                Holdfast demo: a running network of VMs is checkpointed as one, lost, and restarted elsewhere.

                  h1: VMs a, c   h2: VMs b, d   h3: empty at first
                  Every VM is on two segments (red, blue). A token goes around a ring of TCP connections a-b-c-d; it carries
                  a counter and a hash chain, and every VM checks every byte. Beside it every VM sends numbered datagrams.
                """);
        Thread hook = null;
        try (Closing stack =
                new Closing(step("stack up (Kafka, S3, coordinator, 3 hosts)", () -> Stacks.forDemo(this::say)))) {
            hook = new Thread(stack::close, "take down");
            Runtime.getRuntime().addShutdownHook(hook);
            try (Events events = new Events(stack.lab().bootstrap(), URI.create("/demo"))) {
                new Show(stack.lab(), events).all();
            }
        } catch (RuntimeException e) {
            problems.add(e.getMessage() == null ? e.toString() : e.getMessage());
            if (System.getenv("HOLDFAST_DEBUG") != null) {
                e.printStackTrace(out);
            }
        }
        return end();
    }

    /** Takes the stack down once, at the end or at Ctrl-C. */
    private static final class Closing implements AutoCloseable {
        private final Stack stack;
        private boolean closed;

        Closing(Stack stack) {
            this.stack = stack;
        }

        Lab lab() {
            return stack.lab();
        }

        @Override
        public synchronized void close() {
            if (!closed) {
                closed = true;
                stack.close();
            }
        }
    }

    /** The demo on a stack that is up. */
    private final class Show {
        private final Lab lab;
        private final Events events;
        private final Api api;
        private final RingWatch watch;
        private final String suffix = Long.toString(System.currentTimeMillis() / 1000, 36);
        private final String first = NAME + "-" + suffix;
        private final String second = NAME + "-" + suffix + "-copy";
        private final List<String> deployed = new ArrayList<>();

        Show(Lab lab, Events events) {
            this.lab = lab;
            this.events = events;
            this.api = new Api(lab.coordinator());
            this.watch = new RingWatch(lab, api);
            if (lab.hosts().size() < 3) {
                throw new IllegalStateException("the stack has only "
                        + lab.hosts().size() + " hosts, the demo needs 3: ./holdfast down, then again");
            }
        }

        void all() {
            try {
                deployAndRun();
                Map<String, Console> before = watch.consoles(first);
                PublicEvent.CheckpointCompleted cp = checkpoint();
                Map<String, Console> after =
                        step("network runs on after the cut", () -> watch.awaitProgress(first, 3, 100, LONG));
                lose(cp.checkpoint());
                restart(cp.checkpoint(), first, 1);
                verify(first, before, after);
                restart(cp.checkpoint(), second, 2);
                verify(second, before, after);
                step("both instances go on side by side", () -> {
                    watch.awaitProgress(first, 5, 200, LONG);
                    return watch.awaitProgress(second, 5, 200, LONG);
                });
                show();
            } catch (RuntimeException e) {
                keepConsoles();
                throw e;
            } finally {
                cleanUp();
            }
        }

        /** What the guests said, which nothing else tells once the stack is gone. */
        private void keepConsoles() {
            try {
                Path folder = Files.createTempDirectory("holdfast-demo");
                for (String instance : deployed) {
                    for (InstanceView.VmView vm :
                            api.instance(instance).map(InstanceView::vms).orElse(List.of())) {
                        Path console = lab.console(vm.host(), instance, vm.vm());
                        if (Files.exists(console)) {
                            Files.copy(console, folder.resolve(instance + "-" + vm.vm() + ".log"));
                        }
                    }
                }
                say("consoles of the VMs are kept in " + folder);
            } catch (IOException | RuntimeException e) {
                say("consoles of the VMs could not be kept: " + e.getMessage());
            }
        }

        private void deployAndRun() {
            List<String> hosts = hosts();
            Map<String, String> placement = new TreeMap<>();
            for (int i = 0; i < VMS; i++) {
                placement.put(RingNet.names(VMS).get(i), hosts.get(i % 2));
            }
            var spec = RingNet.spec(NAME, lab.guest(), MEMORY, VMS, RATE, LAP_MILLIS, null, placement);
            step("deploy 4 VMs of " + MEMORY + " on " + hosts.get(0) + " and " + hosts.get(1), () -> {
                deployed.add(first);
                return completed(new Request.Deploy(spec, first), PublicEvent.DeployCompleted.class);
            });
            step("VMs boot, ring closes, datagrams flow", () -> watch.awaitProgress(first, 10, 200, LONG));
        }

        private PublicEvent.CheckpointCompleted checkpoint() {
            Request request = new Request.Checkpoint(first, "demo");
            String id = "demo-" + suffix + "-checkpoint";
            say("the request is an event; with kcat it would be:");
            say("  " + events.kcat(request, id));
            PublicEvent.CheckpointCompleted cp = step("checkpoint: prepare, cut, write, archive, commit", () -> {
                events.publish(request, id);
                return end(events.operation(id), PublicEvent.CheckpointCompleted.class);
            });
            out.println();
            Figures.vms(cp.cut(), out);
            Table t = new Table("HOST", "IMAGES", "DATA", "NEW", "STORED IN S3", "TIME");
            cp.archive()
                    .forEach(a -> t.row(
                            a.host(),
                            Text.bytes(a.logicalBytes()),
                            Text.bytes(a.dataBytes()),
                            Text.bytes(a.newBytes()),
                            Text.bytes(a.storedBytes()),
                            Text.millis(a.durationMillis())));
            t.print(out);
            out.println("checkpoint " + cp.checkpoint() + " (" + cp.manifestKey() + ")");
            out.println();
            cp.cut().hosts().forEach(h -> h.vms().stream()
                    .filter(v -> !Figures.balanced(v))
                    .forEach(v -> problems.add("the frame ledger of " + v.vm() + " does not balance")));
            return cp;
        }

        private void lose(String checkpoint) {
            InstanceView view = api.instance(first).orElseThrow();
            step("kill -9 every QEMU, delete every local image", () -> {
                int killed = Damage.killAll(view);
                long bytes = Damage.deleteImages(lab, checkpoint);
                say(killed + " QEMUs killed, images of " + Text.bytes(bytes) + " deleted");
                Await.until(
                        () -> "the coordinator sees the loss; it says "
                                + api.instance(first).map(InstanceView::state).orElse("nothing"),
                        LONG,
                        () -> api.instance(first)
                                .map(i -> i.state().equals("lost"))
                                .orElse(true));
                return killed;
            });
        }

        private void restart(String checkpoint, String instance, int rotation) {
            List<String> hosts = hosts();
            Map<String, String> placement = new TreeMap<>();
            for (int i = 0; i < VMS; i++) {
                placement.put(RingNet.names(VMS).get(i), hosts.get((i + rotation) % 3));
            }
            step("restart from S3 as " + instance + ": " + Text.map(placement), () -> {
                deployed.add(instance);
                PublicEvent.RestoreCompleted done = completed(
                        new Request.Restore(checkpoint, instance, placement, false),
                        PublicEvent.RestoreCompleted.class);
                List.of("clear", "pull", "load", "resume").forEach(phase -> {
                    Long millis = done.phases().get(phase);
                    if (millis != null) {
                        say("  " + phase + " " + Text.millis(millis));
                    }
                });
                if (!placement.equals(new TreeMap<>(done.placement()))) {
                    problems.add(instance + " was placed otherwise: " + done.placement());
                }
                return done;
            });
        }

        private void verify(String instance, Map<String, Console> before, Map<String, Console> after) {
            Map<String, Console> now = step(
                    "the chain of " + instance + " goes on unbroken",
                    () -> watch.awaitProgress(instance, 10, 400, LONG));
            problems.addAll(watch.restartFaults(before, after, now));
            out.println();
            Table t = new Table(
                    "VM",
                    "RING AT CHECKPOINT",
                    "BEGINS AT",
                    "NOW AT",
                    "HASHES",
                    "DATAGRAMS",
                    "LOST",
                    "REPEATED",
                    "REORDERED");
            now.forEach((vm, c) -> {
                Console.Received r = c.lastReceived().orElseThrow();
                t.row(
                        vm,
                        "over " + before.get(vm).lastRing().orElseThrow().count(),
                        c.firstRing().orElseThrow().count(),
                        c.lastRing().orElseThrow().count(),
                        "all right",
                        r.got(),
                        r.lost(),
                        r.repeated(),
                        r.reordered());
            });
            t.print(out);
            out.println();
        }

        private void show() {
            Table t = new Table("INSTANCE", "VM", "HOST", "STATE", "PID");
            for (String i : List.of(first, second)) {
                api.instance(i).orElseThrow().vms().forEach(v -> t.row(i, v.vm(), v.host(), v.state(), v.pid()));
            }
            out.println();
            t.print(out);
            out.println();
        }

        /** Removes what this demo deployed; the stack may be the user's. */
        private void cleanUp() {
            for (String i : deployed.reversed()) {
                try {
                    if (api.instance(i).isPresent()) {
                        step(
                                "destroy " + i,
                                () -> completed(new Request.Destroy(i, false), PublicEvent.DestroyCompleted.class));
                    }
                } catch (RuntimeException e) {
                    problems.add(e.getMessage());
                }
            }
        }

        private List<String> hosts() {
            return lab.hosts().keySet().stream().sorted().limit(3).toList();
        }

        private <T extends PublicEvent> T completed(Request request, Class<T> type) {
            String id = "demo-" + suffix + "-" + Instant.now().toEpochMilli();
            return end(events.publish(request, id), type);
        }

        private <T extends PublicEvent> T end(String operation, Class<T> type) {
            PublicEvent end = events.awaitEnd(operation, LONG.multipliedBy(2));
            if (!type.isInstance(end)) {
                throw new IllegalStateException("operation " + operation + " did not complete: " + end);
            }
            return type.cast(end);
        }
    }

    private interface Step<T> {
        T run();
    }

    private <T> T step(String what, Step<T> step) {
        long start = System.nanoTime();
        out.printf("[%5.1f s] %s ...%n", (start - began) / 1e9, what);
        T result = step.run();
        Duration took = Duration.ofNanos(System.nanoTime() - start);
        steps.put(what, took);
        out.printf("[%5.1f s]   done in %s%n", (System.nanoTime() - began) / 1e9, Text.millis(took.toMillis()));
        return result;
    }

    private void say(String line) {
        out.println("            " + line);
    }

    private int end() {
        out.println();
        Table t = new Table("STEP", "TIME");
        steps.forEach((what, took) -> t.row(what, Text.millis(took.toMillis())));
        t.print(out);
        out.printf("%nall of it took %s%n%n", Text.millis((System.nanoTime() - began) / 1_000_000));
        if (!problems.isEmpty()) {
            out.println("NOT EVERYTHING HELD:");
            problems.forEach(p -> out.println("  - " + p));
            return 1;
        }
        out.println("""
                Everything held: the ring went on from the checkpoint with every hash right, 0 datagrams lost, 0 repeated,
                0 reordered, in the restarted network and in its copy beside it.

                Try next:
                  sudo ./holdfast up                           a stack that stays up
                  sudo ./holdfast apply ops/guest/ring.yaml    your own network; then: list, show ring, console ring a
                  sudo ./holdfast checkpoint ring              and: checkpoints, checkpoint show ID, restore ID --as copy
                  sudo ./holdfast down                         removes all of it
                README.md shows how to drive it with events from any Kafka client.""");
        return 0;
    }
}
