package io.holdfast.agent.pair;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.holdfast.devstack.RepoRoot;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.SpecNormalizer;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The whole agent, twice: real VMs, real frames, real broker. The storage service's part is a copy of the images. */
@Timeout(1200)
class PairIT {
    private static final String NONCE = "00112233445566778899aabbccddee";
    private static final String KERNEL_WORDS = "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off nokaslr "
            + "no_timer_check audit=0 tsc=reliable random.trust_cpu=on ";
    private static final Pattern RX = Pattern.compile("RX last=(\\d+) got=(\\d+) lost=(\\d+) old=(\\d+)");
    private static final Pattern RING = Pattern.compile("RING count=(\\d+) .* ok");

    @TempDir
    Path folder;

    private Path guest;
    private Pair pair;
    private int cuts;

    @Test
    void pair_survivesCutsAnAgentsDeathAndASwapOfHosts() throws Exception {
        // Given: two VMs on two hosts that talk
        assumeTrue(System.getProperty("user.name").equals("root"), "NOT TESTED: needs root");
        assumeTrue(Files.exists(Path.of("/dev/net/tun")), "NOT TESTED: needs /dev/net/tun");
        guest = RepoRoot.find().resolve("host-agent-svc/target/guest");
        Pair.sh(RepoRoot.find().resolve("ops/guest/build.sh").toString(), guest.toString());
        pair = new Pair(folder, guest);
        try {
            pair.start();
            deploy("op-deploy", layout("pair", "h1", "h2"));
            awaitTraffic("pair", "h1", "h2");

            // When: a cut, an agent's sudden death and another's orderly stop, another cut
            checkpoint("op-cp1", "cp-1", "pair");
            assertUnharmed("pair", "h1", "h2");
            pair.killAgent("h1");
            pair.startAgent("h1");
            pair.stopAgent("h2");
            pair.startAgent("h2");
            assertUnharmed("pair", "h1", "h2");
            checkpoint("op-cp2", "cp-2", "pair");
            assertUnharmed("pair", "h1", "h2");
            long before = counts(pair.console("h2", "pair", "b"), RX);
            pair.both("op-destroy", "destroy", "pair", Command.Destroy::new, Report.Destroyed.class);
            assertNothingLeft("pair");

            // and: everything gone, restart on swapped hosts, as another instance beside the first name's place
            copyImage("h1", "h2", "cp-2", "a");
            copyImage("h2", "h1", "cp-2", "b");
            restore("op-restore", "cp-2", layout("pair2", "h2", "h1"));

            // Then: nothing lost, nothing twice
            awaitTraffic("pair2", "h2", "h1");
            assertUnharmed("pair2", "h2", "h1");
            assertThat(counts(pair.console("h1", "pair2", "b"), RX)).isLessThan(before * 10);

            // and the restarted one can be cut again
            checkpoint("op-cp3", "cp-3", "pair2");
            assertUnharmed("pair2", "h2", "h1");
            pair.both("op-destroy2", "destroy", "pair2", Command.Destroy::new, Report.Destroyed.class);
            assertNothingLeft("pair2");
        } finally {
            keepLogs();
            pair.close();
        }
    }

    private void keepLogs() throws IOException {
        Path kept = Files.createDirectories(RepoRoot.find().resolve("host-agent-svc/target/pair-logs"));
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path p : all.filter(f -> f.toString().endsWith(".log")).toList()) {
                Files.copy(
                        p,
                        kept.resolve(folder.relativize(p).toString().replace('/', '_')),
                        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    private InstanceLayout layout(String instance, String hostOfA, String hostOfB) {
        NetworkSpec spec = SpecNormalizer.normalize(new NetworkSpec(
                "pair", List.of(new SegmentSpec("lan", 1450)), List.of(vm("a", 0), vm("b", 1)), Map.of()));
        return new InstanceLayout(
                instance,
                spec,
                List.of(
                        new InstanceLayout.HostPart(hostOfA, Pair.underlay(hostOfA), List.of("a")),
                        new InstanceLayout.HostPart(hostOfB, Pair.underlay(hostOfB), List.of("b"))),
                Map.of("lan", instance.equals("pair") ? 7001 : 7002));
    }

    private VmSpec vm(String name, int index) {
        String own = "10.0.0." + (index + 1);
        String next = "10.0.0." + (2 - index);
        String datagrams = index == 0 ? "udpseq,send," + next + ",9003,500" : "udpseq,recv,9003";
        return new VmSpec(
                name,
                null,
                "128MiB",
                null,
                null,
                null,
                null,
                null,
                guest.resolve("vmlinuz").toString(),
                guest.resolve("initrd.gz").toString(),
                KERNEL_WORDS + "hf.nic0=" + own + "/24 hf.run=ring,2," + index + ",9001," + next + ",9001+" + datagrams,
                List.of(),
                List.of(new NicSpec("lan", null)),
                true);
    }

    private void deploy(String operation, InstanceLayout layout) throws Exception {
        pair.both(operation, "deploy", layout.instance(), h -> new Command.Deploy(h, layout), Report.Deployed.class);
    }

    private void checkpoint(String operation, String checkpoint, String instance) throws Exception {
        String nonce = NONCE + String.format("%02x", ++cuts);
        pair.both(
                operation,
                "prepare",
                instance,
                h -> new Command.Prepare(h, checkpoint, nonce, 1000),
                Report.Prepared.class);
        long at = Pair.inMicros(2_500);
        List<Report.CutDone> cut =
                pair.both(operation, "cut", instance, h -> new Command.Cut(h, checkpoint, at), Report.CutDone.class);
        for (String host : Pair.HOSTS) {
            pair.await(Report.Written.class, operation, host, "write");
        }
        CutFigures figures =
                new CutFigures(cut.stream().map(Report.CutDone::figures).toList());
        System.out.printf(
                "%s: longest pause %d us, skew %d us, frames in flight %d%n",
                checkpoint, figures.longestPauseMicros(), figures.skewMicros(), figures.framesInFlight());
        for (CutFigures.HostCut h : figures.hosts()) {
            for (CutFigures.VmCut v : h.vms()) {
                for (CutFigures.NicLedger n : v.nics()) {
                    assertThat(n.entered()).as("ledger %s", n).isEqualTo(n.delivered() + n.held() + n.dropped());
                }
            }
        }
    }

    private void restore(String operation, String checkpoint, InstanceLayout layout) throws Exception {
        pair.both(
                operation,
                "load",
                layout.instance(),
                h -> new Command.Load(h, checkpoint, layout),
                Report.Loaded.class);
        long at = Pair.inMicros(300);
        pair.both(
                operation,
                "resume",
                layout.instance(),
                h -> new Command.Resume(h, checkpoint, at),
                Report.Resumed.class);
    }

    private void copyImage(String from, String to, String checkpoint, String vm) throws Exception {
        Path target = Files.createDirectories(pair.images(to).resolve(checkpoint));
        Pair.sh(
                "cp",
                "-a",
                "--sparse=always",
                pair.images(from).resolve(checkpoint).resolve(vm).toString(),
                target.toString());
        Pair.sh("rm", "-r", pair.images(from).resolve(checkpoint).resolve(vm).toString());
    }

    /** First group of the last line that fits, or -1. */
    private static long counts(Path console, Pattern pattern) throws IOException {
        if (!Files.exists(console)) {
            return -1;
        }
        Matcher m = pattern.matcher(Files.readString(console, java.nio.charset.StandardCharsets.ISO_8859_1));
        long last = -1;
        while (m.find()) {
            last = Long.parseLong(m.group(1));
        }
        return last;
    }

    private void awaitTraffic(String instance, String hostOfA, String hostOfB) {
        await().atMost(120, TimeUnit.SECONDS)
                .until(() -> counts(pair.console(hostOfB, instance, "b"), RX) > 0
                        && counts(pair.console(hostOfA, instance, "a"), RING) > 0);
    }

    /** Datagrams and token go on, and nothing was lost, came twice or out of order. */
    private void assertUnharmed(String instance, String hostOfA, String hostOfB) throws IOException {
        Path a = pair.console(hostOfA, instance, "a");
        Path b = pair.console(hostOfB, instance, "b");
        long rx = counts(b, RX);
        long ring = counts(a, RING);
        await().atMost(60, TimeUnit.SECONDS).until(() -> counts(b, RX) > rx + 500 && counts(a, RING) > ring + 10);
        String text = Files.readString(b, java.nio.charset.StandardCharsets.ISO_8859_1);
        Matcher m = RX.matcher(text);
        while (m.find()) {
            assertThat(m.group(3) + "/" + m.group(4)).as(m.group()).isEqualTo("0/0");
        }
        assertThat(text).doesNotContain("BROKEN").doesNotContain("GAP").doesNotContain("REPEATED");
        assertThat(Files.readString(a, java.nio.charset.StandardCharsets.ISO_8859_1))
                .doesNotContain("BROKEN");
    }

    private void assertNothingLeft(String instance) throws Exception {
        assertThat(Pair.sh("ip", "netns")).doesNotContain(instance);
        for (String host : Pair.HOSTS) {
            assertThat(pair.state(host).resolve("instances").resolve(instance)).doesNotExist();
        }
        assertThat(ProcessHandle.allProcesses()
                        .flatMap(p -> p.info().commandLine().stream())
                        .filter(c -> c.contains(folder.toString()) && c.contains("qemu")))
                .isEmpty();
    }
}
