package io.holdfast.cli;

import io.holdfast.schemas.event.CutFigures;
import java.io.PrintStream;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Tables of what a cut took and saw. */
public final class Figures {
    private Figures() {}

    /** A VM each: pause and the frame ledger, summed over its NICs; then the whole. */
    public static void vms(CutFigures cut, PrintStream out) {
        Table t = new Table(
                "VM", "HOST", "PAUSE", "STOPPED AFTER", "ENTERED", "DELIVERED", "IN FLIGHT", "DROPPED", "LEDGER");
        long first = firstStop(cut);
        cut.hosts().stream()
                .sorted(Comparator.comparing(CutFigures.HostCut::host))
                .forEach(h -> h.vms().forEach(v -> {
                    long[] s = new long[4];
                    for (CutFigures.NicLedger n : v.nics()) {
                        s[0] += n.entered();
                        s[1] += n.delivered();
                        s[2] += n.held();
                        s[3] += n.dropped();
                    }
                    t.row(
                            v.vm(),
                            h.host(),
                            Text.micros(v.pauseMicros()),
                            Text.micros(v.stopMicros() - first),
                            s[0],
                            s[1],
                            s[2],
                            s[3],
                            balanced(v) ? "balances" : "DOES NOT BALANCE");
                }));
        t.print(out);
        out.printf(
                "longest pause %s, skew between stops %s, frames in flight %d%n",
                Text.micros(cut.longestPauseMicros()), Text.micros(cut.skewMicros()), cut.framesInFlight());
    }

    /** A NIC each. */
    public static void nics(CutFigures cut, PrintStream out) {
        Table t = new Table("VM", "NIC", "SEGMENT", "ENTERED", "DELIVERED", "IN FLIGHT", "DROPPED", "COOKIES");
        cut.hosts().forEach(h -> h.vms().forEach(v -> v.nics()
                .forEach(n -> t.row(
                        v.vm(),
                        n.nic(),
                        n.segment(),
                        n.entered(),
                        n.delivered(),
                        n.held(),
                        n.dropped(),
                        n.cookies()))));
        t.print(out);
    }

    /** A VM each: when it stopped, was saved and ran again. */
    public static void times(CutFigures cut, PrintStream out) {
        Table t = new Table("VM", "HOST", "STOPPED", "ARMED", "RUNNING");
        long first = firstStop(cut);
        cut.hosts().forEach(h -> h.vms()
                .forEach(v -> t.row(
                        v.vm(),
                        h.host(),
                        Text.micros(v.stopMicros() - first),
                        Text.micros(v.armedMicros() - first),
                        Text.micros(v.runMicros() - first))));
        t.print(out);
        out.printf(
                "times are since the first VM stopped, %s, by the hosts' clocks%n",
                Instant.EPOCH.plus(first, ChronoUnit.MICROS));
    }

    /** A segment, host that heard and host that said each: when the first cookies had come to every NIC. */
    public static void cookies(CutFigures cut, PrintStream out) {
        Table t = new Table("SEGMENT", "TO HOST", "FROM HOST", "STOPPED", "CAPTURED");
        for (CutFigures.HostCut h : cut.hosts()) {
            Map<List<String>, Long> stopped = heard(h, CutFigures.Step.stopped_heard);
            Map<List<String>, Long> captured = heard(h, CutFigures.Step.captured_heard);
            captured.keySet().forEach(k -> stopped.putIfAbsent(k, captured.get(k))); // captured counts as stopped too
            stopped.forEach((k, at) -> t.row(
                    k.get(0),
                    h.host(),
                    k.get(1),
                    Text.micros(at - h.gatesClosedMicros()),
                    captured.containsKey(k) ? Text.micros(captured.get(k) - h.gatesClosedMicros()) : null));
        }
        t.print(out);
        out.println("times at which cookies had come to every NIC are since the hearing host's gates closed");
    }

    /** Segment and peer to the time of the last such step: then it had come everywhere. */
    private static Map<List<String>, Long> heard(CutFigures.HostCut h, CutFigures.Step step) {
        Map<List<String>, Long> heard = new LinkedHashMap<>();
        h.trace().stream()
                .filter(s -> s.step() == step)
                .forEach(s -> heard.merge(List.of(s.segment(), s.peer()), s.micros(), Math::max));
        return heard;
    }

    /** A host each: how long the steps of the cut took. */
    public static void hosts(CutFigures cut, PrintStream out) {
        Table t = new Table("HOST", "STARTED LATE", "DELIVERED", "STOPPED", "CHANNELS", "ARMED", "CAPTURED", "RUNNING");
        cut.hosts()
                .forEach(h -> t.row(
                        h.host(),
                        Text.micros(h.gatesClosedMicros() - h.startMicros()),
                        Text.micros(h.deliveredMicros() - h.gatesClosedMicros()),
                        Text.micros(h.stoppedMicros() - h.gatesClosedMicros()),
                        Text.micros(h.channelsMicros() - h.gatesClosedMicros()),
                        Text.micros(h.armedMicros() - h.gatesClosedMicros()),
                        Text.micros(h.capturedMicros() - h.gatesClosedMicros()),
                        Text.micros(h.runningMicros() - h.gatesClosedMicros())));
        t.print(out);
        out.println(
                "times are since the host's gates closed, but STARTED LATE: since the time that the cut was asked for");
    }

    /** What happened at which microsecond on which host, in order by the hosts' clocks. */
    public static void trace(CutFigures cut, PrintStream out) {
        record Line(String host, CutFigures.TraceStep step) {}
        List<Line> lines = cut.hosts().stream()
                .flatMap(h -> h.trace().stream().map(s -> new Line(h.host(), s)))
                .sorted(Comparator.comparingLong(l -> l.step().micros()))
                .toList();
        if (lines.isEmpty()) {
            out.println("no trace was kept");
            return;
        }
        long zero = cut.hosts().stream()
                .mapToLong(CutFigures.HostCut::startMicros)
                .min()
                .orElse(0);
        Table t = new Table("MICROSECONDS", "HOST", "STEP", "VM", "SEGMENT", "FROM HOST");
        lines.forEach(l -> t.row(
                l.step().micros() - zero,
                l.host(),
                l.step().step().name().replace('_', ' '),
                l.step().vm(),
                l.step().segment(),
                l.step().peer()));
        t.print(out);
        out.println("microseconds since the time that the cut was asked for, by each host's own clock");
    }

    /** Whether entered = delivered + held + dropped for every NIC. */
    public static boolean balanced(CutFigures.VmCut v) {
        return v.nics().stream().allMatch(n -> n.entered() == n.delivered() + n.held() + n.dropped());
    }

    private static long firstStop(CutFigures cut) {
        return cut.hosts().stream()
                .flatMap(h -> h.vms().stream())
                .mapToLong(CutFigures.VmCut::stopMicros)
                .min()
                .orElse(0);
    }
}
