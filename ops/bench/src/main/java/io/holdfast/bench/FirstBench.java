package io.holdfast.bench;

import io.holdfast.cli.Api;
import io.holdfast.cli.Table;
import io.holdfast.e2e.Await;
import io.holdfast.e2e.Console;
import io.holdfast.e2e.Damage;
import io.holdfast.e2e.Events;
import io.holdfast.e2e.Lab;
import io.holdfast.e2e.RingNet;
import io.holdfast.e2e.RingWatch;
import io.holdfast.e2e.Stack;
import io.holdfast.e2e.Stacks;
import io.holdfast.schemas.event.ArchiveFigures;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.view.OperationView;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * {@code first [--runs N] [--memory SIZE] [--touch MIB] [--json FILE]}: pause, write and archive throughput and restart time of
 * networks of 1, 2 and 4 VMs, beside QEMU's own stop-and-save ({@code stop}, {@code migrate} to a file, {@code cont}) of VMs with
 * the same guest, by turns in the same run.
 */
final class FirstBench {
    private static final Duration LONG = Duration.ofMinutes(5);
    private static final List<Integer> SIZES = List.of(1, 2, 4);
    private static final List<String> LIMITS = List.of(
            "Medians of few runs on one machine: hosts are namespaces that share its processors, disk and page cache.",
            "Both sides' VMs run during the whole bench (the peer's are stopped while Holdfast is measured, not the other way"
                    + " round).",
            "The peer saves stand-alone VMs: no network between them, no common cut, no fsync, no archive.",
            "write: bytes of data over the time from the cut to durable images. archive: bytes of data over the slowest host's"
                    + " time; from the second run on most chunks are known, as in use.",
            "restart: Holdfast from the bucket with local images deleted (pull + load + resume); the peer from its file in the"
                    + " page cache.");

    private final PrintStream out;
    private final int runs;
    private final String memory;
    private final int touch;
    private final Path json;
    private final Map<Integer, Samples> results = new TreeMap<>();

    private FirstBench(PrintStream out, int runs, String memory, int touch, Path json) {
        this.out = out;
        this.runs = runs;
        this.memory = memory;
        this.touch = touch;
        this.json = json;
    }

    /** Runs the bench. */
    static void run(PrintStream out, Options options) {
        new FirstBench(
                        out,
                        options.number("--runs", 3),
                        options.text("--memory", "256MiB"),
                        options.number("--touch", 96),
                        Path.of(options.text("--json", "bench-first.json")))
                .run();
    }

    private void run() {
        try (Stack stack = Stacks.forBench(out::println)) {
            Thread hook = new Thread(stack::close, "take down");
            Runtime.getRuntime().addShutdownHook(hook);
            try (Events events = new Events(stack.lab().bootstrap(), URI.create("/bench"))) {
                for (int vms : SIZES) {
                    new Case(stack.lab(), events, vms).measure();
                }
            }
            Runtime.getRuntime().removeShutdownHook(hook);
        }
        print();
    }

    /** One number of VMs. */
    private final class Case {
        private final Lab lab;
        private final Events events;
        private final Api api;
        private final RingWatch watch;
        private final int vms;
        private final String name;
        private final Requests requests;
        private final Samples samples = new Samples();
        private final List<PlainQemu> peers = new ArrayList<>();
        private final Path folder;

        Case(Lab lab, Events events, int vms) {
            this.lab = lab;
            this.events = events;
            this.api = new Api(lab.coordinator());
            this.watch = new RingWatch(lab, api);
            this.vms = vms;
            this.name = "bench" + vms + "-" + Long.toString(System.currentTimeMillis() / 1000, 36);
            this.requests = new Requests(events, name, LONG);
            try {
                this.folder = Files.createTempDirectory("holdfast-bench");
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        void measure() {
            out.printf("%d VM%s of %s, %d runs ...%n", vms, vms == 1 ? "" : "s", memory, runs);
            String extra = (vms == 1 ? "" : "clock+") + "touch," + touch + ",500";
            List<String> hosts = lab.hosts().keySet().stream().sorted().limit(2).toList();
            Map<String, String> placement = new TreeMap<>();
            for (int i = 0; i < vms; i++) {
                placement.put(RingNet.names(vms).get(i), hosts.get(i % 2));
            }
            var spec = RingNet.spec("bench", lab.guest(), memory, vms, 50, 50, extra, placement);
            var ram = PlainQemu.Memory.of(memory, false);
            try {
                requests.completed(new Request.Deploy(spec, name), PublicEvent.DeployCompleted.class);
                String accelerator =
                        api.instance(name).orElseThrow().vms().get(0).accelerator();
                String cmdline = spec.vms().get(0).cmdline().replaceAll(" hf\\..*", "") + " hf.run=clock+touch," + touch
                        + ",500";
                for (int i = 0; i < vms; i++) {
                    peers.add(PlainQemu.start(folder, "p" + i, accelerator, ram, lab.guest(), cmdline, null));
                }
                Await.until("all guests have filled their memory", LONG, this::allFull);
                String checkpoint = null;
                for (int run = 1; run <= runs; run++) {
                    peers.forEach(p -> p.command("stop", "{}"));
                    checkpoint = holdfastSaves();
                    peers.forEach(p -> p.command("cont", "{}"));
                    peersSave();
                }
                for (int run = 1; run <= runs; run++) {
                    peers.forEach(p -> p.command("stop", "{}"));
                    holdfastRestarts(checkpoint);
                    peers.forEach(p -> p.command("cont", "{}"));
                    peersRestart(accelerator, ram, cmdline);
                }
            } finally {
                peers.forEach(PlainQemu::close);
                if (api.instance(name).isPresent()) {
                    requests.completed(new Request.Destroy(name, null), PublicEvent.DestroyCompleted.class);
                }
                Damage.deleteTree(folder);
            }
            results.put(vms, samples);
        }

        private boolean allFull() {
            for (var v : api.instance(name).orElseThrow().vms()) {
                if (!Console.printed(lab.console(v.host(), name, v.vm()), "MEMORY full")) {
                    return false;
                }
            }
            for (int i = 0; i < vms; i++) {
                if (!Console.printed(folder.resolve("p" + i + ".log"), "MEMORY full")) {
                    return false;
                }
            }
            return true;
        }

        private String holdfastSaves() {
            String id = requests.nextId();
            String operation = events.publish(new Request.Checkpoint(name, "bench"), id);
            PublicEvent end = events.awaitEnd(operation, LONG);
            if (!(end instanceof PublicEvent.CheckpointCompleted cp)) {
                throw new IllegalStateException("no checkpoint: " + end);
            }
            OperationView o = api.operation(operation).orElseThrow();
            long data = 0;
            for (Events.Seen s : events.seen()) {
                if (s.data() instanceof Report.Written w
                        && w.header().operation().equals(operation)) {
                    data += w.images().stream().mapToLong(VmImage::dataBytes).sum();
                }
            }
            double mib = data / 1048576.0;
            long archive = cp.archive().stream()
                    .mapToLong(ArchiveFigures::durationMillis)
                    .max()
                    .orElse(0);
            samples.add("holdfast pause ms", cp.cut().longestPauseMicros() / 1000.0);
            samples.add("holdfast skew ms", cp.cut().skewMicros() / 1000.0);
            samples.add("holdfast data MiB", mib);
            long write = o.phases().getOrDefault("write", 0L);
            if (write > 0) {
                samples.add("holdfast write MiB/s", mib * 1000 / write);
            }
            if (archive > 0) {
                samples.add("holdfast archive MiB/s", mib * 1000 / archive);
            }
            samples.add("holdfast checkpoint s", cp.durationMillis() / 1000.0);
            // The longest gap that a guest felt afterwards, beside the pause itself (its clock stands while it is
            // stopped).
            Await.until("guests tell of the time of the cut", LONG, () -> watch.consoles(name).values().stream()
                    .noneMatch(c -> c.clock().isEmpty()));
            samples.add(
                    "holdfast guest gap ms",
                    watch.consoles(name).values().stream()
                                    .map(Console::clock)
                                    .mapToLong(c -> c.subList(Math.max(0, c.size() - 8), c.size()).stream()
                                            .mapToLong(Long::longValue)
                                            .max()
                                            .orElse(0))
                                    .max()
                                    .orElse(0)
                            / 1000.0);
            return cp.checkpoint();
        }

        private void peersSave() {
            long bytes = 0;
            long start = System.nanoTime();
            peers.forEach(p -> p.command("stop", "{}"));
            long stopped = System.nanoTime();
            for (int i = 0; i < vms; i++) {
                peers.get(i).save(image(i));
            }
            peers.forEach(PlainQemu::awaitSaved);
            long saved = System.nanoTime();
            peers.forEach(p -> p.command("cont", "{}"));
            samples.add("QEMU save pause ms", (System.nanoTime() - start) / 1e6);
            for (int i = 0; i < vms; i++) {
                bytes += image(i).toFile().length();
            }
            samples.add("QEMU save write MiB/s", bytes / 1048576.0 * 1e9 / (saved - stopped));
        }

        private Path image(int i) {
            return folder.resolve("p" + i + ".image");
        }

        private void holdfastRestarts(String checkpoint) {
            Damage.killAll(api.instance(name).orElseThrow());
            Damage.deleteImages(lab, checkpoint);
            Await.until(
                    "the loss is seen",
                    LONG,
                    () -> api.instance(name).orElseThrow().state().equals("lost"));
            var done = requests.completed(
                    new Request.Restore(checkpoint, name, null, true), PublicEvent.RestoreCompleted.class);
            samples.add(
                    "holdfast restart s", (done.durationMillis() - done.phases().getOrDefault("clear", 0L)) / 1000.0);
            watch.awaitProgress(name, vms == 1 ? 0 : 2, vms == 1 ? 0 : 20, LONG);
        }

        private void peersRestart(String accelerator, PlainQemu.Memory ram, String cmdline) {
            peers.forEach(PlainQemu::close);
            peers.clear();
            long start = System.nanoTime();
            List<Thread> starts = new ArrayList<>();
            PlainQemu[] started = new PlainQemu[vms];
            for (int i = 0; i < vms; i++) {
                int n = i;
                starts.add(Thread.ofPlatform().start(() -> {
                    started[n] = PlainQemu.start(folder, "p" + n, accelerator, ram, lab.guest(), cmdline, image(n));
                    started[n].awaitRunning();
                }));
            }
            for (Thread t : starts) {
                try {
                    t.join();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new IllegalStateException("interrupted", e);
                }
            }
            samples.add("QEMU load s", (System.nanoTime() - start) / 1e9);
            peers.addAll(List.of(started));
        }
    }

    private void print() {
        List<String> head = new ArrayList<>(List.of("MEDIAN OF " + runs));
        results.keySet().forEach(n -> head.add(n + " VM"));
        Table t = new Table(head.toArray(String[]::new));
        results.values().stream().flatMap(r -> r.names().stream()).distinct().forEach(what -> {
            List<Object> row = new ArrayList<>(List.of(what));
            results.values().forEach(r -> row.add(Results.number(r.median(what))));
            t.row(row.toArray());
        });
        out.println();
        t.print(out);
        out.println();
        LIMITS.forEach(l -> out.println("- " + l));
        Map<String, Samples> cases = new LinkedHashMap<>();
        results.forEach((n, r) -> cases.put(n + "vm", r));
        Results.write(out, json, "first", Map.of("runs", runs, "memory", memory), LIMITS, cases);
    }
}
