package io.holdfast.bench;

import io.holdfast.cli.Api;
import io.holdfast.cli.Figures;
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
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.CutFigures.HostCut;
import io.holdfast.schemas.event.CutFigures.Step;
import io.holdfast.schemas.event.CutFigures.TraceStep;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.Sizes;
import io.holdfast.schemas.spec.VmSpec;
import io.holdfast.schemas.view.InstanceView;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.ToLongFunction;

/**
 * {@code cut [--runs N] [--warm N] [--only CASE,CASE...] [--trace yes] [--json FILE]}: what a cut costs, by the figures that every checkpoint
 * reports. Where there is a peer (QEMU's stop, {@code migrate} to a file, cont of a VM with the same guest and memory), both take
 * turns in the same run.
 */
final class CutBench {
    private static final Duration LONG = Duration.ofMinutes(5);

    /** 20 MB/s in pages of 4 KiB. */
    private static final int DIRTY = 5000;

    /**
     * A network to cut.
     *
     * @param touch MiB of each VM's memory filled with data, 0 for a guest that just booted
     * @param dirty pages a second that the guest goes on to write
     * @param freeze whether the broker is stopped from the delivery of the cut command until the cut is over
     * @param peer whether QEMU's own stop-and-save of the same VM takes turns
     */
    private record Case(
            String name,
            int vms,
            int hosts,
            String memory,
            Hugepages huge,
            int touch,
            int dirty,
            boolean freeze,
            boolean peer) {
        long pages() {
            return huge == Hugepages.on ? vms * (Sizes.parse(memory) >> 21) * (peer ? 2 : 1) : 0;
        }
    }

    private static final List<Case> CASES = List.of(
            new Case("1vm", 1, 1, "1GiB", Hugepages.on, 0, 0, false, true),
            new Case("4vm", 4, 2, "1GiB", Hugepages.on, 0, 0, false, false),
            new Case("12vm", 12, 3, "1GiB", Hugepages.on, 0, 0, false, false),
            new Case("1gib-touched", 1, 1, "1GiB", Hugepages.on, 820, 0, false, false),
            new Case("4gib-touched", 1, 1, "4GiB", Hugepages.on, 3600, 0, false, false),
            new Case("dirty-20MB/s", 1, 1, "1GiB", Hugepages.on, 820, DIRTY, false, true),
            new Case("broker-stopped", 4, 2, "1GiB", Hugepages.on, 0, 0, true, false),
            new Case("1vm-ordinary", 1, 1, "1GiB", Hugepages.off, 0, 0, false, false),
            new Case("1vm-ordinary-touched", 1, 1, "1GiB", Hugepages.off, 820, 0, false, true),
            new Case("4vm-256MiB-ordinary", 4, 2, "256MiB", Hugepages.off, 0, 0, false, false));

    private static final List<String> LIMITS = List.of(
            "All hosts are namespaces of one machine and share its processors, memory, page cache and disk; guests run in software"
                    + " emulation unless ACCELERATOR says kvm.",
            "pause: from QMP stop to the answer of cont, the longest VM of a network. stop, arm, cont: QEMU's own parts of it; holdfast:"
                    + " time of the pause in which no QEMU of the network was at work on a command (cookies, ledger, our threads).",
            "guest gap: longest time between two wake-ups of a 1 kHz loop in the guest from the cut until the image was complete; a"
                    + " stopped guest's clock stands, so the pause comes on top. quiet gap: the same before the cut.",
            "capture: bytes of data over the time from the cut to durable images; the peer does not sync its file; synced: with the time to do that.");

    private final PrintStream out;
    private final int runs;
    private final int warm;
    private final Path json;
    private final List<String> only;
    private final boolean trace;
    private final Map<String, Samples> results = new LinkedHashMap<>();
    private final Samples jvm = new Samples();
    private String accelerator = "?";

    private CutBench(PrintStream out, Options options) {
        this.out = out;
        this.runs = options.number("--runs", 20);
        this.warm = options.number("--warm", 3);
        this.json = Path.of(options.text("--json", "bench-cut.json"));
        this.only = List.of(options.text("--only", "").split(",", -1));
        this.trace = options.text("--trace", "no").equals("yes");
        List<String> known = CASES.stream().map(Case::name).toList();
        for (String o : only) {
            if (!o.isEmpty() && !known.contains(o)) {
                throw new Options.Usage("--only " + o + ": the cases are " + String.join(", ", known));
            }
        }
    }

    static void run(PrintStream out, Options options) {
        new CutBench(out, options).run();
    }

    private void run() {
        List<Case> cases = CASES.stream()
                .filter(c -> only.equals(List.of("")) || only.contains(c.name()))
                .toList();
        long pages = cases.stream().mapToLong(Case::pages).max().orElse(0);
        try (HugePages pool = HugePages.atLeast(pages);
                Stack stack = Stacks.forBench(out::println)) {
            Thread hook = new Thread(
                    () -> {
                        stack.close();
                        pool.close();
                    },
                    "take down");
            Runtime.getRuntime().addShutdownHook(hook);
            try (Events events = new Events(stack.lab().bootstrap(), URI.create("/bench"))) {
                for (Case c : cases) {
                    new Run(stack, events, c).measure();
                    table(c);
                }
            }
            Runtime.getRuntime().removeShutdownHook(hook);
        }
        summary(cases);
    }

    /** One case on the stack. */
    private final class Run {
        private final Stack stack;
        private final Lab lab;
        private final Events events;
        private final Api api;
        private final RingWatch watch;
        private final Case c;
        private final String name;
        private final Requests requests;
        private final Samples samples = new Samples();
        private final Path folder;
        private CutFigures slowest;

        Run(Stack stack, Events events, Case c) {
            this.stack = stack;
            this.lab = stack.lab();
            this.events = events;
            this.api = new Api(lab.coordinator());
            this.watch = new RingWatch(lab, api);
            this.c = c;
            this.name = "cut-" + Long.toString(System.currentTimeMillis() / 1000, 36);
            this.requests = new Requests(events, name, LONG);
            try {
                this.folder = Files.createTempDirectory("holdfast-bench");
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        void measure() {
            long began = micros();
            out.printf(
                    "%s: %d VM%s of %s on %d host%s, %s pages%s%s ...%n",
                    c.name(),
                    c.vms(),
                    c.vms() == 1 ? "" : "s",
                    c.memory(),
                    c.hosts(),
                    c.hosts() == 1 ? "" : "s",
                    c.huge() == Hugepages.on ? "huge" : "ordinary",
                    c.touch() == 0 ? "" : ", " + c.touch() + " MiB filled",
                    c.dirty() == 0 ? "" : ", " + c.dirty() * 4096L / 1_000_000 + " MB/s written");
            NetworkSpec spec = spec();
            PlainQemu peer = null;
            try {
                requests.completed(new Request.Deploy(spec, name), PublicEvent.DeployCompleted.class);
                accelerator = view().vms().get(0).accelerator();
                if (c.peer()) {
                    peer = PlainQemu.start(
                            folder,
                            "peer",
                            accelerator,
                            PlainQemu.Memory.of(c.memory(), c.huge() == Hugepages.on),
                            lab.guest(),
                            spec.vms().get(0).cmdline().replaceAll(" hf\\..*", "") + " hf.run=" + programs(),
                            null);
                }
                Await.until(
                        "all guests are up" + (c.touch() == 0 ? "" : " and have filled their memory"), LONG, this::up);
                for (int run = -warm; run < runs; run++) {
                    if (peer != null) {
                        peer.command("stop", "{}");
                    }
                    checkpoint(run >= 0);
                    if (peer != null) {
                        peer.command("cont", "{}");
                        if (run >= 0) {
                            save(peer);
                        }
                    }
                }
            } finally {
                if (peer != null) {
                    peer.close();
                }
                if (api.instance(name).isPresent()) {
                    requests.completed(new Request.Destroy(name, null), PublicEvent.DestroyCompleted.class);
                }
                Damage.deleteTree(folder);
            }
            results.put(c.name(), samples);
            for (String host : lab.hosts().keySet()) {
                Safepoints.read(stack.agentSafepoints(host)).stream()
                        .filter(p -> p.endMicros() > began)
                        .forEach(p -> jvm.add("all", p.nanos() / 1e6));
            }
            if (trace) {
                out.println("trace of the slowest cut:");
                Figures.trace(slowest, out);
            }
        }

        private String programs() {
            // Under emulation a 1 kHz clock takes 0.4 of a core: only where there is room for it.
            String clock = c.vms() == 1 ? "clock,1000,100" : "clock,10,1000";
            return clock + (c.touch() == 0 ? "" : "+touch," + c.touch() + "," + c.dirty());
        }

        private NetworkSpec spec() {
            Map<String, String> placement = new TreeMap<>();
            List<String> hosts =
                    lab.hosts().keySet().stream().sorted().limit(c.hosts()).toList();
            for (int i = 0; i < c.vms(); i++) {
                placement.put(RingNet.names(c.vms()).get(i), hosts.get(i % c.hosts()));
            }
            NetworkSpec s = RingNet.spec("bench", lab.guest(), c.memory(), c.vms(), 50, 50, programs(), placement);
            List<VmSpec> vms = s.vms().stream()
                    .map(v -> new VmSpec(
                            v.name(),
                            v.vcpus(),
                            v.memory(),
                            c.huge(),
                            v.cpu(),
                            v.machine(),
                            v.accelerator(),
                            v.firmware(),
                            v.kernel(),
                            v.initrd(),
                            v.cmdline().replace("hf.run=clock+", "hf.run="),
                            v.disks(),
                            v.nics(),
                            v.console()))
                    .toList();
            return new NetworkSpec(s.name(), s.segments(), vms, s.placement());
        }

        private InstanceView view() {
            return api.instance(name).orElseThrow();
        }

        private boolean up() {
            for (var v : view().vms()) {
                Path log = lab.console(v.host(), name, v.vm());
                Console console = Console.read(log);
                boolean running = console.clock().size() > (c.vms() == 1 ? 20 : 2)
                        && (c.vms() == 1 || console.ring().size() > 3)
                        && (c.touch() == 0 || Console.printed(log, "MEMORY full"));
                if (!running) {
                    return false;
                }
            }
            return c.touch() == 0 || !c.peer() || Console.printed(folder.resolve("peer.log"), "MEMORY full");
        }

        private void checkpoint(boolean counts) {
            Map<String, Integer> linesBefore = new TreeMap<>();
            Map<String, Long> quiet = new TreeMap<>();
            watch.consoles(name).forEach((vm, console) -> {
                linesBefore.put(vm, console.clock().size());
                List<Long> last = console.clock();
                quiet.put(
                        vm,
                        last.subList(Math.max(0, last.size() - 10), last.size()).stream()
                                .mapToLong(Long::longValue)
                                .max()
                                .orElse(0));
            });
            String id = requests.nextId();
            String operation = events.operation(id);
            // Nothing of ours is to run while the cut is taken: events are waited for, not looked for.
            CountDownLatch commands = latch(operation, Command.Cut.class, c.hosts());
            CountDownLatch written = latch(operation, Report.Written.class, c.hosts());
            String same = events.publish(new Request.Checkpoint(name, "bench"), id);
            if (!same.equals(operation)) {
                throw new IllegalStateException(same + " instead of " + operation);
            }
            if (c.freeze()) {
                await(commands, operation);
                freezeBroker(operation);
            }
            await(written, operation);
            Map<String, Integer> linesAfter = new TreeMap<>();
            watch.consoles(name)
                    .forEach((vm, console) -> linesAfter.put(vm, console.clock().size()));
            PublicEvent end = events.awaitEnd(operation, LONG);
            if (!(end instanceof PublicEvent.CheckpointCompleted cp)) {
                throw new IllegalStateException("no checkpoint: " + end);
            }
            if (!counts) {
                return;
            }
            CutFigures cut = cp.cut();
            if (slowest == null || cut.longestPauseMicros() > slowest.longestPauseMicros()) {
                slowest = cut;
            }
            samples.add("pause ms", cut.longestPauseMicros() / 1000.0);
            samples.add("stop ms", longest(cut, Step.stop_sent, Step.stopped));
            samples.add("arm ms", longest(cut, Step.snapshot_begun, Step.armed));
            samples.add("cont ms", longest(cut, Step.cont_sent, Step.running));
            samples.add("holdfast ms", ours(cut));
            samples.add("skew ms", cut.skewMicros() / 1000.0);
            samples.add(
                    "started late ms",
                    cut.hosts().stream().mapToLong(HostCut::lateMicros).max().orElse(0) / 1000.0);
            samples.add("JVM stood ms", stood(cut));
            samples.add("frames in flight", (double) cut.framesInFlight());
            double mib = 0;
            double stalled = 0;
            double copied = 0;
            double stream = 0;
            double durable = 0;
            for (Events.Seen s : events.seen()) {
                if (s.data() instanceof Report.Written w
                        && w.header().operation().equals(operation)) {
                    mib += w.images().stream().mapToLong(VmImage::dataBytes).sum() / 1048576.0;
                    copied += w.images().stream()
                                    .mapToLong(i -> i.capture().copiedBytes())
                                    .sum()
                            / 1048576.0;
                    stalled = Math.max(stalled, longestMillis(w, VmImage.Capture::stalledMicros));
                    stream = Math.max(stream, longestMillis(w, VmImage.Capture::streamMicros));
                    durable = Math.max(durable, longestMillis(w, VmImage.Capture::durableMicros));
                }
            }
            samples.add("data MiB", mib);
            samples.add("copied MiB", copied);
            samples.add("stage full ms", stalled);
            double complete = seconds(operation);
            samples.add("stream ms", stream);
            samples.add("durable ms", durable);
            samples.add("image complete ms", complete * 1000);
            samples.add("capture MiB/s", mib / complete);
            if (c.vms() > 1) {
                return; // a slow clock cannot tell
            }
            samples.add(
                    "quiet gap ms",
                    quiet.values().stream().mapToLong(v -> v).max().orElse(0) / 1000.0);
            Await.until("guests tell of the time of the write", LONG, () -> watch.consoles(name).entrySet().stream()
                    .allMatch(e -> e.getValue().clock().size() > linesAfter.get(e.getKey()) + 1));
            double gap = 0;
            for (var e : watch.consoles(name).entrySet()) {
                List<Long> all = e.getValue().clock();
                gap = Math.max(
                        gap,
                        all.subList(linesBefore.get(e.getKey()), linesAfter.get(e.getKey()) + 1).stream()
                                        .mapToLong(Long::longValue)
                                        .max()
                                        .orElse(0)
                                / 1000.0);
            }
            samples.add("guest gap ms", gap);
            samples.add("pause + gap ms", gap + cut.longestPauseMicros() / 1000.0);
        }

        private static double longestMillis(Report.Written written, ToLongFunction<VmImage.Capture> micros) {
            return written.images().stream()
                            .mapToLong(i -> micros.applyAsLong(i.capture()))
                            .max()
                            .orElse(0)
                    / 1000.0;
        }

        /** Longest time that an agent's JVM stood while the cut was taken on its host, milliseconds; 0 when none did. */
        private double stood(CutFigures cut) {
            return cut.hosts().stream()
                            .flatMap(h -> Safepoints.read(stack.agentSafepoints(h.host())).stream()
                                    .filter(p -> p.overlaps(h.startMicros(), h.runningMicros())))
                            .mapToLong(Safepoints.Pause::nanos)
                            .max()
                            .orElse(0)
                    / 1e6;
        }

        /** From the first host's stop to the last host's report that its images are durable, seconds. */
        private double seconds(String operation) {
            long from = Long.MAX_VALUE;
            long to = 0;
            for (Events.Seen s : events.seen()) {
                if (s.data() instanceof Report.CutDone d
                        && d.header().operation().equals(operation)) {
                    from = Math.min(from, d.figures().deliveredMicros());
                } else if (s.data() instanceof Report.Written w
                        && w.header().operation().equals(operation)) {
                    Instant t = s.event().getTime().toInstant();
                    to = Math.max(to, t.getEpochSecond() * 1_000_000 + t.getNano() / 1000);
                }
            }
            return (to - from) / 1e6;
        }

        /** Counted down by each such record of the operation, and wholly by its end. */
        private CountDownLatch latch(String operation, Class<?> type, int count) {
            CountDownLatch latch = new CountDownLatch(count);
            events.listen(s -> {
                boolean end = s.data() instanceof PublicEvent e
                        && operation.equals(s.event().getSubject())
                        && Events.isEnd(e);
                if (end) {
                    for (long n = latch.getCount(); n > 0; n--) {
                        latch.countDown();
                    }
                } else if (type.isInstance(s.data()) && operation.equals(operationOf(s.data()))) {
                    latch.countDown();
                }
            });
            return latch;
        }

        private static String operationOf(Object data) {
            return switch (data) {
                case Command k -> k.header().operation();
                case Report r -> r.header().operation();
                default -> null;
            };
        }

        private static void await(CountDownLatch latch, String operation) {
            try {
                if (!latch.await(LONG.toSeconds(), TimeUnit.SECONDS)) {
                    throw new IllegalStateException(operation + " does not go on");
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted", e);
            }
        }

        private void freezeBroker(String operation) {
            Command.Cut cut = events.seen().stream()
                    .map(Events.Seen::data)
                    .filter(d ->
                            d instanceof Command.Cut k && k.header().operation().equals(operation))
                    .map(Command.Cut.class::cast)
                    .findFirst()
                    .orElseThrow();
            // Every agent has it too, or gets it in the same fetch: the cut is a second ahead.
            long before = cut.startAtMicros() - 300_000;
            Await.until("the time shortly before the cut", LONG, () -> micros() > before);
            stack.freeze("kafka");
            try {
                long after = cut.startAtMicros() + 700_000;
                Await.until("the time after the cut", LONG, () -> micros() > after);
            } finally {
                stack.thaw("kafka");
            }
        }

        private static long micros() {
            Instant now = Instant.now();
            return now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
        }

        private void save(PlainQemu peer) {
            Path image = folder.resolve("peer.image");
            long start = System.nanoTime();
            peer.command("stop", "{}");
            long stopped = System.nanoTime();
            peer.save(image);
            peer.awaitSaved();
            long saved = System.nanoTime();
            peer.command("cont", "{}");
            samples.add("QEMU save pause ms", (System.nanoTime() - start) / 1e6);
            double mib = image.toFile().length() / 1048576.0;
            samples.add("QEMU save MiB/s", mib * 1e9 / (saved - stopped));
            long before = System.nanoTime();
            try (FileChannel c = FileChannel.open(image, StandardOpenOption.WRITE)) {
                c.force(true);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            samples.add("QEMU synced MiB/s", mib * 1e9 / (saved - stopped + System.nanoTime() - before));
        }
    }

    /** Longest time from one step of a VM to another, milliseconds. */
    private static double longest(CutFigures cut, Step from, Step to) {
        long longest = 0;
        for (HostCut h : cut.hosts()) {
            for (TraceStep s : h.trace()) {
                if (s.step() == from) {
                    for (TraceStep e : h.trace()) {
                        if (e.step() == to && e.vm().equals(s.vm())) {
                            longest = Math.max(longest, e.micros() - s.micros());
                        }
                    }
                }
            }
        }
        return longest / 1000.0;
    }

    /** Time from the first stop to the last run in which no QEMU is at work on a command, milliseconds. */
    private static double ours(CutFigures cut) {
        record Span(long from, long to) {}
        List<Span> busy = new ArrayList<>();
        long first = Long.MAX_VALUE;
        long last = 0;
        for (HostCut h : cut.hosts()) {
            for (TraceStep s : h.trace()) {
                Step end =
                        switch (s.step()) {
                            case stop_sent -> Step.stopped;
                            case snapshot_begun -> Step.armed;
                            case cont_sent -> Step.running;
                            default -> null;
                        };
                if (end == null) {
                    continue;
                }
                for (TraceStep e : h.trace()) {
                    if (e.step() == end && e.vm().equals(s.vm())) {
                        busy.add(new Span(s.micros(), e.micros()));
                        first = Math.min(first, s.micros());
                        last = Math.max(last, e.micros());
                    }
                }
            }
        }
        busy.sort(Comparator.comparingLong(Span::from));
        long idle = 0;
        long reached = first;
        for (Span s : busy) {
            idle += Math.max(0, s.from() - reached);
            reached = Math.max(reached, s.to());
        }
        return busy.isEmpty() ? 0 : (idle + Math.max(0, last - reached)) / 1000.0;
    }

    private void table(Case c) {
        Samples s = results.get(c.name());
        Table t = new Table("OF " + runs + " RUNS", "MEDIAN", "P90", "LEAST", "MOST");
        for (String what : s.names()) {
            t.row(
                    what,
                    Results.number(s.median(what)),
                    Results.number(s.quantile(what, 0.9)),
                    Results.number(s.quantile(what, 0)),
                    Results.number(s.quantile(what, 1)));
        }
        t.print(out);
        out.println();
    }

    private void summary(List<Case> cases) {
        Table t = new Table(
                "MEDIAN",
                "PAUSE MS",
                "STOP",
                "ARM",
                "CONT",
                "HOLDFAST",
                "GAP",
                "CAPTURE MiB/s",
                "QEMU PAUSE",
                "QEMU MiB/s",
                "SYNCED");
        for (Case c : cases) {
            Samples s = results.get(c.name());
            t.row(
                    c.name(),
                    Results.number(s.median("pause ms")),
                    Results.number(s.median("stop ms")),
                    Results.number(s.median("arm ms")),
                    Results.number(s.median("cont ms")),
                    Results.number(s.median("holdfast ms")),
                    c.vms() == 1 ? Results.number(s.median("guest gap ms")) : null,
                    Results.number(s.median("capture MiB/s")),
                    c.peer() ? Results.number(s.median("QEMU save pause ms")) : null,
                    c.peer() ? Results.number(s.median("QEMU save MiB/s")) : null,
                    c.peer() ? Results.number(s.median("QEMU synced MiB/s")) : null);
        }
        t.print(out);
        out.println("accelerator " + accelerator);
        out.printf(
                "agents' JVMs stood %d times in all, cuts or not: median %.2f ms, 99 of 100 within %.2f ms, longest %.2f ms%n",
                jvm.of("all").size(), jvm.median("all"), jvm.quantile("all", 0.99), jvm.quantile("all", 1));
        LIMITS.forEach(l -> out.println("- " + l));
        Results.write(out, json, "cut", Map.of("runs", runs, "accelerator", accelerator), LIMITS, results);
    }
}
