package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.cli.Figures;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/**
 * Nothing is lost, repeated or reordered by checkpoints and restarts, whatever goes over the wire: {@link ExactNet}, and its
 * guests count. System properties {@code holdfast.exact.checkpoints}, {@code .restarts}, {@code .rate} (datagrams a second), {@code .bulk} (KiB a
 * second of the fastest TCP stream, 0: as fast as it goes) and {@code .seed} make it longer; see docs/cut.md.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ExactIT extends E2e {
    private static final String NET = "exact";
    private static final String SMALL = "96MiB";
    private static final int CHECKPOINTS = Integer.getInteger("holdfast.exact.checkpoints", 6);
    private static final int RESTARTS = Integer.getInteger("holdfast.exact.restarts", 2);
    private static final int RATE = Integer.getInteger("holdfast.exact.rate", 2000);
    private static final int BULK_KIB = Integer.getInteger("holdfast.exact.bulk", 0);
    private static final int SEED = Integer.getInteger("holdfast.exact.seed", 1);
    /** The largest frame that is not one with segmentation offload: 1450 bytes and the headers, tagged. */
    private static final int LARGEST_PLAIN = 1518;

    /** What a checkpoint fails with when the machine is too busy for the cut's limit. */
    private static final Set<ErrorCode> BUSY = Set.of(
            ErrorCode.QEMU_FAILED,
            ErrorCode.FRAMES_UNDELIVERED,
            ErrorCode.COOKIE_MISSING,
            ErrorCode.ABORTED,
            ErrorCode.TOO_LATE);

    /** Threads for a processor above which a machine is that busy; the test's own make 3 or so. */
    private static final double TOO_BUSY = 5;

    private static final Path TSHARK = Path.of("/usr/bin/tshark");

    private final ExactNet net = new ExactNet(RATE, BULK_KIB);
    private final List<Long> pauses = new ArrayList<>();
    private long entered;
    private long held;
    private long large;
    private long tagged;
    private long late;
    private long cookies;
    /** Frames and cookies that had entered at the last checkpoint, since its gates were made. */
    private long[] counted;

    private long datagrams;
    private long bulkBytes;

    /** NICs whose frames in flight tshark has read. */
    private static int shown;

    private int refused;
    private int refusedIdle;
    private long largeFrames;

    @Test
    @Order(1)
    void nothingIsLostRepeatedOrReorderedByCheckpointsAndRestarts() {
        Random random = new Random(SEED);
        Map<String, String> placement = permuted(random);
        completed(
                new Request.Deploy(net.spec("exact", lab().guest(), SMALL, placement), NET),
                PublicEvent.DeployCompleted.class);
        Map<String, Console> now = runsOn();
        now.forEach((vm, c) -> assertThat(c.lastByPort().keySet())
                .as("streams that come to %s", vm)
                .isEqualTo(net.streams().get(vm)));
        int restarts = 0;
        for (int i = 1; i <= CHECKPOINTS; i++) {
            Map<String, Console> before = watch().consoles(NET);
            PublicEvent.CheckpointCompleted last = checkpointOnBusyMachine();
            evidence(last);
            if (shown == 0) {
                tsharkShows(last);
            }
            Map<String, Console> after = runsOn();
            now = after;
            if (i * RESTARTS / CHECKPOINTS > restarts) {
                restarts++;
                count(after);
                placement = permuted(random);
                completed(
                        new Request.Restore(last.checkpoint(), null, placement, true),
                        PublicEvent.RestoreCompleted.class);
                Map<String, Console> restarted = runsOn();
                assertThat(watch().restartFaults(before, after, restarted)).isEmpty();
                for (var vm : instance(NET).vms()) {
                    assertThat(vm.host()).isEqualTo(placement.get(vm.vm()));
                }
                now = restarted;
                counted = new long[2];
            }
        }
        count(now);
        Collections.sort(pauses);
        System.out.printf(
                "ExactIT: %d checkpoints, %d restarts, %d frames entered, %d in flight (%d larger than %d bytes, %d tagged,"
                        + " %d after the settle time), %d cookies, %d checkpoints refused in time; guests: %d datagrams,"
                        + " %d MiB of bulk in %d frames of more than 1518 bytes, nothing lost, repeated or reordered; longest pause %d us in the median, %d us at most%n",
                CHECKPOINTS,
                restarts,
                entered,
                held,
                large,
                LARGEST_PLAIN,
                tagged,
                late,
                cookies,
                refused,
                datagrams,
                bulkBytes >> 20,
                largeFrames,
                pauses.get(pauses.size() / 2),
                pauses.get(pauses.size() - 1));
        assertThat(restarts).isEqualTo(RESTARTS);
        assertThat(largeFrames)
                .as("frames with segmentation offload have passed the gates")
                .isPositive();
    }

    @Test
    @Order(2)
    void tsharkShowsTheFramesInFlightWithTimeAndInterface() {
        Assumptions.assumeTrue(Files.isExecutable(TSHARK), "NOT TESTED: frames in flight with tshark: not installed");
        Assumptions.assumeTrue(shown > 0, "NOT TESTED: frames in flight with tshark: there were none at any cut");
        System.out.printf("ExactIT: tshark has read the frames in flight of %d NICs%n", shown);
    }

    @Test
    @Order(3)
    void whatItLeavesIsNothing() {
        destroy(NET);
    }

    /**
     * A checkpoint. Where the machine is too busy for the cut's limit of 1 s it is refused, which must do no harm either, and
     * taken again.
     */
    private PublicEvent.CheckpointCompleted checkpointOnBusyMachine() {
        for (; ; ) {
            PublicEvent end = ended(new Request.Checkpoint(NET, null));
            if (end instanceof PublicEvent.CheckpointCompleted done) {
                return done;
            }
            System.out.println("ExactIT: refused: " + end);
            assertThat(codes(end)).allMatch(BUSY::contains);
            double load = load();
            if (load <= TOO_BUSY * Runtime.getRuntime().availableProcessors()) {
                assertThat(++refusedIdle)
                        .as("checkpoints refused at a load that is no excuse, now %s: %s", load, end)
                        .isLessThanOrEqualTo(Math.max(1, CHECKPOINTS / 10));
            }
            assertThat(++refused).as("refused checkpoints").isLessThanOrEqualTo(2 + CHECKPOINTS / 3);
            runsOn();
        }
    }

    private static double load() {
        try {
            return Double.parseDouble(Files.readString(Path.of("/proc/loadavg")).split(" ", -1)[0]);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void tsharkShows(PublicEvent.CheckpointCompleted cp) {
        if (!Files.isExecutable(TSHARK)) {
            return;
        }
        for (CutFigures.HostCut h : cp.cut().hosts()) {
            for (CutFigures.VmCut v : h.vms()) {
                for (CutFigures.NicLedger n : v.nics()) {
                    Path file = InFlight.file(lab(), h.host(), cp.checkpoint(), v.vm(), n.nic());
                    if (n.held() == 0) {
                        assertThat(file).doesNotExist();
                        continue;
                    }
                    shown++;
                    assertThat(tshark(file)).hasSize((int) n.held()).allSatisfy(line -> {
                        String[] f = line.split("\t", -1);
                        long micros = new BigDecimal(f[0]).movePointRight(6).longValue();
                        assertThat(micros).isBetween(h.gatesClosedMicros(), h.capturedMicros());
                        assertThat(Integer.parseInt(f[1])).isPositive();
                        assertThat(f[2]).isEqualTo(v.vm() + "/nic" + n.nic() + " (" + n.segment() + ")");
                    });
                }
            }
        }
    }

    /** Every stream goes on and nothing is wrong with any. */
    private static Map<String, Console> runsOn() {
        try {
            return watch().awaitProgress(NET, 1, 20, LONG);
        } catch (IllegalStateException e) {
            StringBuilder drops = new StringBuilder();
            watch().consoles(NET)
                    .forEach((vm, c) ->
                            drops.append("; ").append(vm).append(": ").append(c.drops()));
            throw new IllegalStateException(e.getMessage() + "; what the guests dropped themselves" + drops, e);
        }
    }

    /** The ledger of every NIC closes, and the image has the frames that it says were in flight. */
    private void evidence(PublicEvent.CheckpointCompleted cp) {
        CutFigures cut = cp.cut();
        assertThat(cut.hosts()).hasSize(3);
        pauses.add(cut.longestPauseMicros());
        counted = new long[2];
        for (CutFigures.HostCut h : cut.hosts()) {
            for (CutFigures.VmCut v : h.vms()) {
                assertThat(Figures.balanced(v)).as("ledger of %s", v).isTrue();
                for (CutFigures.NicLedger n : v.nics()) {
                    assertThat(n.dropped()).as("dropped by %s: %s", v.vm(), n).isZero();
                    List<InFlight> frames =
                            InFlight.read(InFlight.file(lab(), h.host(), cp.checkpoint(), v.vm(), n.nic()));
                    assertThat(frames).as("frames of %s: %s", v.vm(), n).hasSize((int) n.held());
                    counted[0] += n.entered();
                    counted[1] += n.cookies();
                    held += n.held();
                    large += frames.stream()
                            .filter(f -> f.length() > LARGEST_PLAIN)
                            .count();
                    tagged += frames.stream().filter(f -> f.type() == 0x8100).count();
                    late += frames.stream()
                            .filter(f -> f.micros() > h.channelsMicros())
                            .count();
                }
            }
        }
    }

    /** Adds up what was counted since the deploy or the latest restart: consoles and gates begin anew with it. */
    private void count(Map<String, Console> consoles) {
        entered += counted[0];
        cookies += counted[1];
        consoles.values().forEach(c -> {
            c.lastByPort()
                    .forEach((port, r) ->
                            datagrams += r.got() - c.firstByPort().get(port).got());
            c.lastBulk().forEach((port, got) -> bulkBytes += got - c.firstBulk().get(port));
            if (!c.bulk().isEmpty()) {
                largeFrames += c.bulk().getLast().large() - c.bulk().getFirst().large();
            }
        });
    }

    /** Two VMs on each host. */
    private static Map<String, String> permuted(Random random) {
        List<String> hosts = new ArrayList<>();
        for (String vm : ExactNet.VMS) {
            hosts.add("h" + (1 + ExactNet.VMS.indexOf(vm) % 3));
        }
        Collections.shuffle(hosts, random);
        Map<String, String> placement = new TreeMap<>();
        for (String vm : ExactNet.VMS) {
            placement.put(vm, hosts.get(ExactNet.VMS.indexOf(vm)));
        }
        return placement;
    }

    private static List<String> tshark(Path file) {
        try {
            return lines(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<String> lines(Path file) throws IOException {
        Process p = new ProcessBuilder(
                        TSHARK.toString(),
                        "-n",
                        "-r",
                        file.toString(),
                        "-T",
                        "fields",
                        "-e",
                        "frame.time_epoch",
                        "-e",
                        "frame.len",
                        "-e",
                        "frame.interface_name")
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return out.lines().toList();
    }
}
