package io.holdfast.agent.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Hypervisor.VmPlan;
import io.holdfast.agent.domain.Image;
import io.holdfast.agent.domain.Vm;
import io.holdfast.agent.image.FolderImageStore;
import io.holdfast.agent.image.ImageFolder;
import io.holdfast.agent.image.ImageInspector;
import io.holdfast.agent.image.NativeCloner;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.DiskSpec;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Real QEMU with a real guest. Needs root and the guest's folder in the system property {@code holdfast.guest}. */
@Timeout(value = 180, unit = TimeUnit.SECONDS)
class QemuHypervisorIT {
    private static final Duration LIMIT = Duration.ofSeconds(30);
    private static final Pattern TICKS = Pattern.compile("CLOCK [^\\n]*ticks=([0-9]+)\\s*\\n");

    @TempDir
    Path base;

    private Path guest;
    private QemuHypervisor hypervisor;
    private FolderImageStore store;
    private final List<Vm> vms = new ArrayList<>();

    @BeforeEach
    void setUp() throws Exception {
        String property = System.getProperty("holdfast.guest", System.getenv().getOrDefault("HOLDFAST_GUEST", ""));
        guest = Path.of(property.isEmpty() ? "/nonexistent" : property);
        assumeTrue(
                Files.exists(guest.resolve("vmlinuz")),
                "NOT TESTED: QEMU with a guest: no guest in '" + property
                        + "' (ops/guest/build.sh OUT, then -Dholdfast.guest=OUT)");
        assumeTrue(
                (Integer) Files.getAttribute(Path.of("/proc/self"), "unix:uid") == 0,
                "NOT TESTED: QEMU with a guest: not root");
        hypervisor = hypervisor();
        store = new FolderImageStore(base.resolve("images"));
    }

    private QemuHypervisor hypervisor() throws AgentException {
        return new QemuHypervisor(
                QemuSettings.defaults(base.resolve("state"), List.of(guest, base)), new NativeCloner());
    }

    @AfterEach
    void endVms() {
        vms.forEach(Vm::kill);
    }

    private static void assumeHugePages(int pages) throws IOException {
        assumeTrue(
                QemuHypervisor.freeHugePages() >= pages,
                "NOT TESTED: huge pages: fewer than " + pages + " free 2 MiB pages (sysctl vm.nr_hugepages)");
    }

    private VmSpec spec(DiskSpec... disks) {
        return spec(
                "pc-q35-9.0", "256MiB", Hugepages.off, guest.resolve("vmlinuz").toString(), disks);
    }

    private VmSpec spec(String machine, String memory, Hugepages huge, String kernel, DiskSpec... disks) {
        return spec(machine, memory, huge, kernel, "touch,24,500", disks);
    }

    private VmSpec spec(
            String machine, String memory, Hugepages huge, String kernel, String program, DiskSpec... disks) {
        return new VmSpec(
                "web",
                1,
                memory,
                huge,
                "qemu64",
                machine,
                Accelerator.tcg,
                null,
                kernel,
                guest.resolve("initrd.gz").toString(),
                "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off nokaslr no_timer_check audit=0 tsc=reliable"
                        + " random.trust_cpu=on hf.run=clock,100,100+" + program,
                List.of(disks),
                List.of(),
                true);
    }

    private static InstanceLayout layout(VmSpec spec) {
        return new InstanceLayout(
                "inst",
                new NetworkSpec("inst", List.of(), List.of(spec), Map.of()),
                List.of(new InstanceLayout.HostPart("h1", "127.0.0.1", List.of(spec.name()))),
                Map.of());
    }

    private VmPlan plan(String folder, VmSpec spec, Image fixed) throws IOException {
        return new VmPlan("inst", spec, Files.createDirectories(base.resolve(folder)), -1, List.of(), fixed);
    }

    private Vm start(VmPlan plan, boolean incoming) throws AgentException {
        Vm vm = hypervisor.start(plan, incoming);
        vms.add(vm);
        return vm;
    }

    private static String console(VmPlan plan) {
        try {
            Path log = plan.folder().resolve("console.log");
            return Files.exists(log) ? Files.readString(log, StandardCharsets.ISO_8859_1) : "";
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static long ticks(VmPlan plan, boolean first) {
        Matcher m = TICKS.matcher(console(plan));
        long n = -1;
        while (m.find()) {
            n = Long.parseLong(m.group(1));
            if (first) {
                break;
            }
        }
        return n;
    }

    private static void awaitTicks(VmPlan plan, long more) {
        await().atMost(Duration.ofSeconds(90))
                .pollInterval(Duration.ofMillis(20))
                .until(() -> ticks(plan, false) >= more && console(plan).contains("MEMORY pages="));
    }

    private record Figures(long stopMicros, long armedMicros, long contMicros, long completeMicros) {}

    private static Figures take(Vm vm, Image image) throws AgentException {
        try (Vm.Snapshot snapshot = vm.prepareSnapshot(image)) {
            long t0 = System.nanoTime();
            vm.beginStop();
            long ignored = vm.awaitStopped(LIMIT);
            long t1 = System.nanoTime();
            snapshot.begin();
            long armed = snapshot.awaitArmed(LIMIT);
            long t2 = System.nanoTime();
            vm.cont(LIMIT);
            long t3 = System.nanoTime();
            snapshot.awaitComplete(LIMIT);
            long t4 = System.nanoTime();
            assertThat(armed).isPositive();
            return new Figures((t1 - t0) / 1000, (t2 - t1) / 1000, (t3 - t2) / 1000, (t4 - t0) / 1000);
        }
    }

    private VmImage checkpoint(Vm vm, VmSpec spec, String id) throws AgentException {
        Image image = store.create(id, layout(spec), "web");
        Figures f = take(vm, image);
        VmImage sealed = image.seal();
        System.out.printf(
                Locale.ROOT,
                "SNAPSHOT %s: stop %.1f + armed %.1f + cont %.1f = %.1f ms paused; complete after %.0f ms, %d MiB of data%n",
                id,
                f.stopMicros() / 1e3,
                f.armedMicros() / 1e3,
                f.contMicros() / 1e3,
                (f.stopMicros() + f.armedMicros() + f.contMicros()) / 1e3,
                f.completeMicros() / 1e3,
                sealed.dataBytes() >> 20);
        return sealed;
    }

    private Vm restart(String folder, VmSpec spec, String checkpoint) throws Exception {
        Image image = store.open(checkpoint, "web");
        Vm vm = start(plan(folder, spec, image), true);
        assertThat(vm.state().state()).isEqualTo("incoming");
        long t0 = System.nanoTime();
        vm.load(image);
        double seconds = (System.nanoTime() - t0) / 1e9;
        long data = ImageFolder.of(image).machine().ram().dataBytes();
        System.out.printf(
                Locale.ROOT, "LOAD %s: %.0f ms, %.2f GB/s of data%n", checkpoint, seconds * 1e3, data / seconds / 1e9);
        assertThat(vm.state().state()).isEqualTo("paused");
        return vm;
    }

    /** The process that writes a VM's console to its file. */
    private static ProcessHandle consoleProcess(VmPlan plan) {
        Path file = plan.folder().resolve("console.log");
        return ProcessHandle.allProcesses()
                .filter(p -> {
                    Path proc = Path.of("/proc/" + p.pid());
                    try {
                        return Files.readString(proc.resolve("comm")).equals("hf-console\n")
                                && Files.readSymbolicLink(proc.resolve("fd/1")).equals(file);
                    } catch (IOException e) {
                        return false;
                    }
                })
                .findFirst()
                .orElseThrow();
    }

    private static void signal(ProcessHandle process, String signal) throws Exception {
        assertThat(new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid()))
                        .start()
                        .waitFor())
                .isZero();
    }

    /** What a VM that stands has said is in its file: the process waits for more. */
    private static void awaitConsoleWritten(VmPlan plan) {
        Path waitsIn = Path.of("/proc/" + consoleProcess(plan).pid() + "/wchan");
        await().atMost(Duration.ofSeconds(30))
                .until(() -> Files.readString(waitsIn).contains("pipe_read"));
    }

    private static void awaitWork(Vm vm, Duration most, Duration least) {
        Duration before = cpu(vm);
        long began = System.nanoTime();
        await().atMost(Duration.ofSeconds(90))
                .until(() -> cpu(vm).compareTo(before.plus(most)) > 0 && System.nanoTime() - began > least.toNanos());
    }

    private static Duration cpu(Vm vm) {
        return ProcessHandle.of(vm.pid())
                .orElseThrow()
                .info()
                .totalCpuDuration()
                .orElseThrow();
    }

    @Test
    void givenAConsoleWhoseFileTakesNothingWhenTheGuestSpeaksThenItRunsOnAndNothingIsMissing() throws Exception {
        // Given
        VmPlan plan = plan("speaking", spec(), null);
        Vm vm = start(plan, false);
        awaitTicks(plan, 200);
        ProcessHandle process = consoleProcess(plan);
        assertThat(Files.getAttribute(Path.of("/proc/" + process.pid() + "/mem"), "unix:uid"))
                .as("QEMU, which has the same user, cannot trace it")
                .isEqualTo(0);
        // When: its process stands, as it does while the disk is busy
        signal(process, "STOP");
        long began = System.nanoTime();
        long before = ticks(plan, false);
        awaitWork(vm, Duration.ofMillis(200), Duration.ofSeconds(4));
        long stood = System.nanoTime() - began;
        signal(process, "CONT");
        awaitTicks(plan, before + 400);
        // Then
        Matcher m = Pattern.compile("CLOCK max_us=([0-9]+) [^\\n]*ticks=([0-9]+)\\s*\\n")
                .matcher(console(plan));
        for (long last = 0; m.find(); last = Long.parseLong(m.group(2))) {
            // one line a tenth of a second, in which there are 10 ticks or, when the guest is late, fewer
            assertThat(Long.parseLong(m.group(2))).as("no line is missing").isBetween(last + 1, last + 15);
            if (last > before) {
                assertThat(Long.parseLong(m.group(1)) * 1000).isLessThan(stood / 2);
            }
        }
        // When: it is gone
        signal(process, "KILL");
        await().until(() -> !process.isAlive());
        awaitWork(vm, Duration.ofMillis(200), Duration.ZERO);
        // Then
        assertThat(vm.state().state()).isEqualTo("running");
    }

    @Test
    void givenARunningGuestWhenCheckpointedAndLoadedElsewhereThenItGoesOnWhereItWas() throws Exception {
        VmSpec spec = spec();
        VmPlan first = plan("a", spec, null);
        Vm vm = start(first, false);
        assertThat(vm.state().state()).isEqualTo("running");
        assertThat(vm.state().accelerator()).isEqualTo("tcg");
        awaitTicks(first, 50);

        vm.beginStop();
        vm.awaitStopped(LIMIT);
        assertThat(vm.state().state()).isEqualTo("paused");
        vm.cont(LIMIT);
        assertThat(vm.state().state()).isEqualTo("running");

        checkpoint(vm, spec, "cp-1");
        assertThat(vm.state().state()).isEqualTo("running");
        awaitTicks(first, ticks(first, false) + 50);
        checkpoint(vm, spec, "cp-2");
        awaitTicks(first, ticks(first, false) + 20);
        vm.beginStop();
        vm.awaitStopped(LIMIT);
        long before = ticks(first, false);
        checkpointPaused(vm, spec, "cp-3");
        vm.kill();
        assertThat(vm.state().state()).isEqualTo("dead");

        Vm again = restart("b", spec, "cp-3");
        VmPlan second = plan("b", spec, null);
        // Nothing has run yet: another snapshot has the same RAM, byte for byte.
        checkpointPaused(again, spec, "cp-4");
        assertThat(ramDifference("cp-3", "cp-4")).isEqualTo(-1);
        again.cont(LIMIT);
        awaitTicks(second, before + 20);
        assertThat(ticks(second, true)).isBetween(before, before + 40);
        assertThat(console(second)).doesNotContain("BROKEN").contains("MEMORY pages=");

        // A checkpoint of a restarted VM works, and restarts again.
        checkpoint(again, spec, "cp-5");
        long then = ticks(second, false);
        again.kill();
        Vm third = restart("c", spec, "cp-5");
        third.cont(LIMIT);
        VmPlan thirdPlan = plan("c", spec, null);
        awaitTicks(thirdPlan, then + 20);
        assertThat(console(thirdPlan)).doesNotContain("BROKEN");

        var text = new ByteArrayOutputStream();
        new ImageInspector(new PrintStream(text, true, StandardCharsets.UTF_8)).print(base.resolve("images/cp-5/web"));
        assertThat(text.toString(StandardCharsets.UTF_8))
                .contains("ram0")
                .contains("cpu")
                .contains("devices.bin");
    }

    /** Pages are copied when the guest writes to them; it checks each page of what it wrote, before and after the restart. */
    @ParameterizedTest
    @EnumSource(names = {"off", "on"})
    void givenAGuestThatWritesWhileItsImageIsTakenThenPagesAreKeptForItAndTheImageIsOfTheCut(Hugepages huge)
            throws Exception {
        if (huge == Hugepages.on) {
            assumeHugePages(96);
        }
        // Given: it rewrites 96 MiB as fast as it can
        VmSpec spec =
                spec("pc-q35-9.0", "192MiB", huge, guest.resolve("vmlinuz").toString(), "touch,96,1000000");
        VmPlan first = plan("a", spec, null);
        Vm vm = start(first, false);
        awaitTicks(first, 20);

        // When
        VmImage image = checkpoint(vm, spec, "cp-1");
        awaitTicks(first, ticks(first, false) + 20);
        vm.kill();

        // Then
        assertThat(image.capture().copiedBytes()).isPositive();
        assertThat(console(first)).doesNotContain("BROKEN");
        Vm again = restart("b", spec, "cp-1");
        again.cont(LIMIT);
        VmPlan second = plan("b", spec, null);
        await().atMost(Duration.ofSeconds(90)).until(() -> console(second).split("MEMORY pages=", -1).length > 3);
        assertThat(console(second)).doesNotContain("BROKEN");
    }

    @Test
    void givenACheckpointWhenExportedThenStockQemuRunsItOnWithoutHoldfast() throws Exception {
        // Given
        VmSpec spec = spec();
        VmPlan first = plan("a", spec, null);
        Vm vm = start(first, false);
        awaitTicks(first, 50);
        vm.beginStop();
        vm.awaitStopped(LIMIT);
        long before = ticks(first, false);
        checkpointPaused(vm, spec, "cp-1");
        vm.kill();

        // When
        Path exported = base.resolve("exported");
        new Exporter(System.out).export(base.resolve("images/cp-1"), exported);
        Process qemu = new ProcessBuilder(exported.resolve("web/run.sh").toString())
                .redirectErrorStream(true)
                .redirectOutput(base.resolve("stock.log").toFile())
                .start();

        // Then: the clock goes on from where it was, and the memory that the guest checks is whole
        try {
            VmPlan there = new VmPlan("inst", spec, exported.resolve("web"), -1, List.of(), null);
            await().atMost(Duration.ofSeconds(90))
                    .pollInterval(Duration.ofMillis(50))
                    .until(() -> !qemu.isAlive()
                            || (ticks(there, false) >= before + 20
                                    && console(there).contains("MEMORY pages=")));
            assertThat(qemu.isAlive())
                    .as(Files.readString(base.resolve("stock.log")))
                    .isTrue();
            assertThat(ticks(there, true)).isBetween(before, before + 40);
            assertThat(console(there)).doesNotContain("BROKEN");
        } finally {
            qemu.destroyForcibly();
        }
        assertThat(exported.resolve("run-all.sh")).content().contains("./web/run.sh");
    }

    @Test
    void givenWhatStockQemuMigratedToAFileWhenImportedThenItGoesOnUnderHoldfast_andWhatDoesNotFitIsRefused()
            throws Exception {
        // Given: a VM that stock QEMU runs, from an export, and writes to a file
        DiskSpec disk = new DiskSpec("data", DiskSpec.Mode.scratch, null, "4MiB");
        VmSpec spec = spec(disk);
        VmPlan first = plan("a", spec, null);
        Vm vm = start(first, false);
        awaitTicks(first, 20);
        vm.beginStop();
        vm.awaitStopped(LIMIT);
        checkpointPaused(vm, spec, "cp-1");
        vm.kill();
        Path exported = base.resolve("exported");
        new Exporter(System.out).export(base.resolve("images/cp-1"), exported);
        Path web = exported.resolve("web");
        Path file = base.resolve("plain.migration");
        VmPlan there = new VmPlan("inst", spec, web, -1, List.of(), null);
        Process qemu = new ProcessBuilder(web.resolve("run.sh").toString())
                .redirectErrorStream(true)
                .redirectOutput(base.resolve("stock.log").toFile())
                .start();
        long before;
        try {
            awaitTicks(there, 60);
            try (QmpClient qmp = QmpClient.connect("stock", web.resolve("qmp.sock"), LIMIT, e -> {}, () -> {})) {
                qmp.execute("stop", null, LIMIT);
                before = ticks(there, false);
                qmp.execute("migrate", QmpClient.arguments().put("uri", "file:" + file), LIMIT);
                await().atMost(Duration.ofSeconds(60))
                        .pollInterval(Duration.ofMillis(50))
                        .until(() -> qmp.execute("query-migrate", null, LIMIT)
                                .path("status")
                                .asText()
                                .equals("completed"));
            }
        } finally {
            qemu.destroyForcibly().waitFor();
        }
        ObjectMapper json = EventCodec.json();
        ObjectNode network = json.createObjectNode().put("name", "inst");
        network.putArray("segments").addObject().put("name", "lan");
        network.putArray("vms").add(json.valueToTree(spec));
        Map<String, Path> disks = Map.of("data", web.resolve("disk-data.raw"));
        Importer importer = new Importer(System.out);
        Path images = base.resolve("images");

        // When
        String id = importer.run(images, network.toString(), file, disks);
        VmPlan second = plan("b", spec, store.open(id, "web"));
        Vm again = restart("b", spec, id);
        again.cont(LIMIT);

        // Then: the clock goes on from where it was, and the memory that the guest checks is whole
        await().atMost(Duration.ofSeconds(90))
                .pollInterval(Duration.ofMillis(50))
                .until(() ->
                        ticks(second, false) >= before + 20 && console(second).contains("MEMORY pages="));
        assertThat(ticks(second, true)).isBetween(before, before + 40);
        assertThat(console(second)).doesNotContain("BROKEN");
        assertThat(new ObjectMapper()
                        .readTree(images.resolve(id).resolve("checkpoint.json").toFile())
                        .path("checkpoint")
                        .asText())
                .isEqualTo(id);

        // And: what does not fit is refused, and nothing is left of it
        List<String> present = store.present();
        String good = network.toString();
        Map<String, String> wrong = Map.of(
                good.replace("256MiB", "512MiB"), "bytes of RAM",
                good.replace("pc-q35-9.0", "pc-q35-9.1"), "of a machine pc-q35-9.0",
                good.replace("\"tcg\"", "\"auto\""), "accelerator: kvm or tcg",
                good.replace("\"nics\":[]", "\"nics\":[{\"segment\":\"lan\"}]"), "virtio-net",
                good.replace("4MiB", "8MiB"), "the spec says 8388608",
                good.replace("\"memory\":\"256MiB\",", ""), "the spec is not valid");
        for (Map.Entry<String, String> w : wrong.entrySet()) {
            assertThat(w.getKey()).isNotEqualTo(good);
            assertThatThrownBy(() -> importer.run(images, w.getKey(), file, disks))
                    .isInstanceOf(Importer.RefusedException.class)
                    .hasMessageContaining(w.getValue());
        }
        assertThatThrownBy(() -> importer.run(images, good, file, Map.of()))
                .isInstanceOf(Importer.RefusedException.class)
                .hasMessageContaining("scratch disks");
        assertThatThrownBy(() -> importer.run(images, good, guest.resolve("vmlinuz"), disks))
                .hasMessageContaining("not a QEMU migration stream");
        assertThat(store.present()).isEqualTo(present);
    }

    private void checkpointPaused(Vm vm, VmSpec spec, String id) throws AgentException {
        Image image = store.create(id, layout(spec), "web");
        try (Vm.Snapshot s = vm.prepareSnapshot(image)) {
            s.begin();
            s.awaitArmed(LIMIT);
            s.awaitComplete(LIMIT);
        }
        image.seal();
        assertThat(vm.state().state()).isEqualTo("paused");
    }

    /** Offset of the first page of the guest's RAM that differs, or -1. */
    private long ramDifference(String one, String other) throws IOException {
        try (var a = new RandomAccessFile(
                        base.resolve("images/" + one + "/web/ram.img").toFile(), "r");
                var b = new RandomAccessFile(
                        base.resolve("images/" + other + "/web/ram.img").toFile(), "r")) {
            assertThat(a.length()).isEqualTo(b.length());
            byte[] x = new byte[1 << 20];
            byte[] y = new byte[1 << 20];
            for (long at = 0; at < a.length(); at += x.length) {
                int n = a.read(x);
                b.readFully(y, 0, n);
                if (!java.util.Arrays.equals(x, 0, n, y, 0, n)) {
                    return at;
                }
            }
            return -1;
        }
    }

    @Test
    void givenAVmWhenItsQemuIsKilledThenItIsDeadWithAReason() throws Exception {
        Vm vm = start(plan("a", spec(), null), false);

        ProcessHandle.of(vm.pid()).orElseThrow().destroyForcibly();

        await().atMost(LIMIT).until(() -> vm.state().state().equals("dead"));
        assertThat(vm.state().reason()).contains("signal 9");
        assertThat(vm.state().pid()).isZero();
        assertThatThrownBy(() -> vm.cont(LIMIT)).isInstanceOfSatisfying(AgentException.class, e -> assertThat(e.code())
                .isEqualTo(ErrorCode.VM_DEAD));
    }

    @Test
    void givenAVmThatWasNeverStartedWhenAdoptedThenItIsDeadAndItsStateKeepsTheContract() throws Exception {
        VmState state = hypervisor().adopt(plan("never", spec(), null)).state();

        assertThat(state.state()).isEqualTo("dead");
        assertThat(state.accelerator()).isEqualTo("tcg"); // the contract knows kvm and tcg, nothing else
    }

    @Test
    void givenAForgottenVmWhenAdoptedThenItIsTheSameAndCanBeCheckpointed() throws Exception {
        VmSpec spec = spec();
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        awaitTicks(plan, 10);
        vm.beginStop();
        vm.awaitStopped(LIMIT);
        vm.detach();

        Vm adopted = hypervisor().adopt(plan);
        vms.add(adopted);

        assertThat(adopted.pid()).isEqualTo(vm.pid());
        assertThat(adopted.state().state()).isEqualTo("paused");
        adopted.cont(LIMIT);
        checkpoint(adopted, spec, "cp-1");
        adopted.kill();
        assertThat(hypervisor().adopt(plan).state().state()).isEqualTo("dead");
    }

    @Test
    void givenASnapshotUnderWayWhenClosedThenTheVmRunsAndTheNextWorks() throws Exception {
        VmSpec spec = spec();
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        awaitTicks(plan, 10);

        Vm.Snapshot unused = vm.prepareSnapshot(store.create("cp-0", layout(spec), "web"));
        unused.close();
        Vm.Snapshot cancelled = vm.prepareSnapshot(store.create("cp-1", layout(spec), "web"));
        vm.beginStop();
        vm.awaitStopped(LIMIT);
        cancelled.begin();
        cancelled.close();
        vm.cont(LIMIT);
        store.delete("cp-0");
        store.delete("cp-1");

        assertThat(vm.state().state()).isEqualTo("running");
        assertThat(store.present()).isEmpty();
        awaitTicks(plan, ticks(plan, false) + 20);
        checkpoint(vm, spec, "cp-2");
    }

    @Test
    void givenAVmThatDiesWhileTheSnapshotIsTakenThenItFailsAndNothingHangs() throws Exception {
        VmSpec spec = spec();
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        awaitTicks(plan, 10);
        vm.beginStop();
        vm.awaitStopped(LIMIT);

        try (Vm.Snapshot s = vm.prepareSnapshot(store.create("cp-1", layout(spec), "web"))) {
            ProcessHandle.of(vm.pid()).orElseThrow().destroyForcibly();
            assertThatThrownBy(() -> {
                        s.begin();
                        s.awaitArmed(LIMIT);
                        s.awaitComplete(LIMIT);
                    })
                    .isInstanceOfSatisfying(
                            AgentException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.VM_DEAD));
        }
    }

    @Test
    void givenAScratchDiskWhenRestartedThenItsContentIsThatOfTheCut() throws Exception {
        VmSpec spec = spec(
                new DiskSpec("data", DiskSpec.Mode.scratch, null, "64MiB"),
                new DiskSpec(
                        "ro", DiskSpec.Mode.readonly, guest.resolve("initrd.gz").toString(), null));
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        Path disk = plan.folder().resolve("disk-data.raw");
        Files.write(disk, new byte[] {1, 2, 3}, java.nio.file.StandardOpenOption.WRITE);

        checkpoint(vm, spec, "cp-1");
        Files.write(disk, new byte[] {9, 9, 9}, java.nio.file.StandardOpenOption.WRITE);
        vm.kill();
        Vm again = restart("b", spec, "cp-1");

        again.cont(LIMIT);
        assertThat(Files.readAllBytes(base.resolve("b/disk-data.raw")))
                .startsWith(1, 2, 3)
                .hasSize(64 << 20);
    }

    @Test
    void givenABrokenImageWhenOpenedThenItIsRefusedWithTheFilesName() throws Exception {
        VmSpec spec = spec();
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        checkpoint(vm, spec, "cp-1");
        Path devices = base.resolve("images/cp-1/web/devices.bin");
        byte[] bytes = Files.readAllBytes(devices);
        bytes[bytes.length / 2] ^= 1;
        Files.write(devices, bytes);

        assertThatThrownBy(() -> store.open("cp-1", "web")).isInstanceOfSatisfying(AgentException.class, e -> {
            assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
            assertThat(e).hasMessageContaining("devices.bin");
        });
    }

    @Test
    void givenAFileThatIsNoKernelOrLiesElsewhereWhenStartedThenTheMessageSaysSo() throws Exception {
        Path bad = Files.writeString(base.resolve("bad-kernel"), "no kernel");
        assertThatThrownBy(() ->
                        start(plan("a", spec("pc-q35-9.0", "256MiB", Hugepages.off, bad.toString()), null), false))
                .isInstanceOfSatisfying(AgentException.class, e -> {
                    assertThat(e.code()).isEqualTo(ErrorCode.QEMU_FAILED);
                    assertThat(e).hasMessageContaining("kernel");
                });
        assertThatThrownBy(
                        () -> start(plan("b", spec("pc-q35-9.0", "256MiB", Hugepages.off, "/etc/passwd"), null), false))
                .isInstanceOfSatisfying(
                        AgentException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.FILE_UNAVAILABLE));
    }

    @Test
    void givenAMicrovmWhenCheckpointedThenItsImageLoadsWithTheSameRam() throws Exception {
        // Debian's kernel finds no clock on a microvm without KVM, so nothing is said here about a guest that goes on.
        VmSpec spec = spec(
                "microvm", "128MiB", Hugepages.off, guest.resolve("vmlinuz").toString());
        Vm vm = start(plan("a", spec, null), false);
        checkpoint(vm, spec, "cp-1");
        vm.kill();

        Vm again = restart("b", spec, "cp-1");

        checkpointPaused(again, spec, "cp-2");
        assertThat(ramDifference("cp-1", "cp-2")).isEqualTo(-1);
        again.cont(LIMIT);
        assertThat(again.state().state()).isEqualTo("running");
    }

    /** A guest without an operating system counts in memory and on the serial port: also where KVM boots no Linux, also on a microvm. */
    @ParameterizedTest
    @CsvSource({"kvm, pc-q35-9.0", "kvm, microvm", "tcg, pc-q35-9.0", "tcg, microvm"})
    void givenACountingGuestWhenCheckpointedAndRestartedThenItsCountGoesOnExactly(String accelerator, String machine)
            throws Exception {
        assumeTrue(
                !accelerator.equals("kvm") || Files.isWritable(Path.of("/dev/kvm")),
                "NOT TESTED: checkpoints under KVM: /dev/kvm cannot be opened");
        VmSpec spec = new VmSpec(
                "web",
                1,
                "16MiB",
                Hugepages.off,
                "qemu64",
                machine,
                Accelerator.valueOf(accelerator),
                guest.resolve("count.bin").toString(),
                null,
                null,
                null,
                List.of(),
                List.of(),
                true);
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        assertThat(vm.state().accelerator()).isEqualTo(accelerator);
        awaitCount(plan, 5);

        // When it is checkpointed, it runs on
        String atTheCut;
        Image image = store.create("cp-1", layout(spec), "web");
        try (Vm.Snapshot snapshot = vm.prepareSnapshot(image)) {
            vm.beginStop();
            long ignored = vm.awaitStopped(LIMIT);
            awaitConsoleWritten(plan);
            atTheCut = console(plan);
            snapshot.begin();
            ignored = snapshot.awaitArmed(LIMIT);
            vm.cont(LIMIT);
            snapshot.awaitComplete(LIMIT);
        }
        image.seal();
        awaitCount(plan, atTheCut.lines().count() + 20);
        vm.kill();
        assertCounts(console(plan));

        // and restarted it goes on at the character at which it was stopped
        Vm again = restart("b", spec, "cp-1");
        again.cont(LIMIT);
        VmPlan second = plan("b", spec, null);
        awaitCount(second, 20);
        again.kill();
        assertCounts(atTheCut + console(second));
    }

    private static void awaitCount(VmPlan plan, long lines) {
        await().atMost(LIMIT)
                .pollInterval(Duration.ofMillis(20))
                .until(() -> console(plan).lines().count() > lines);
    }

    /** Every line but the last, which may be on its way, is the next 4,096. */
    private static void assertCounts(String console) {
        List<String> lines =
                console.substring(0, console.lastIndexOf('\n')).lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            assertThat(lines.get(i)).isEqualTo(String.format(Locale.ROOT, "HF-COUNT %08x", (i + 1) * 4096));
        }
    }

    @Test
    void givenHugePagesWhenCheckpointedThenItRestarts() throws Exception {
        assumeHugePages(64);
        VmSpec spec = spec(
                "pc-q35-9.0", "128MiB", Hugepages.auto, guest.resolve("vmlinuz").toString());
        VmPlan plan = plan("a", spec, null);
        Vm vm = start(plan, false);
        assertThat(vm.state().hugepages()).isTrue();
        awaitTicks(plan, 10);
        checkpoint(vm, spec, "cp-1");
        long before = ticks(plan, false);
        vm.kill();

        Vm again = restart("b", spec, "cp-1");
        assertThat(again.state().hugepages()).isTrue();
        checkpointPaused(again, spec, "cp-2");
        assertThat(ramDifference("cp-1", "cp-2")).isEqualTo(-1);
        again.cont(LIMIT);

        awaitTicks(plan("b", spec, null), before + 20);
    }

    @Test
    void givenAutoWhenAskedForTheAcceleratorThenItIsProvenAndKept() throws Exception {
        var choice = hypervisor.accelerator();

        System.out.println("ACCELERATOR " + choice);
        assertThat(choice.accelerator()).isIn("kvm", "tcg");
        assertThat(choice.reason()).isNotBlank();
        if (Files.exists(Path.of("/dev/kvm"))) {
            assertThat(base.resolve("state/accelerator.json")).exists();
        }
        assertThat(hypervisor().accelerator()).isEqualTo(choice);
    }
}
