package io.holdfast.agent.cut;

import io.holdfast.agent.domain.NetworkPlan.SegmentPlan;
import io.holdfast.agent.nat.Native;
import io.holdfast.schemas.event.CutFigures.Step;
import io.holdfast.schemas.event.CutFigures.TraceStep;
import java.util.ArrayList;
import java.util.List;

/** What happened in a cut, and when. Its memory is there before the cut; noting makes no objects. One thread. */
final class Trace {
    private final long[] micros;
    private final Step[] steps;
    private final String[] vms;
    private final String[] segments;
    private final String[] peers;
    private int n;

    /** Room for every step of such a cut; what does not fit is not kept. */
    Trace(int vmCount, List<SegmentPlan> plan) {
        int cookies = plan.stream().mapToInt(s -> s.peers().size() + 1).sum();
        int room = 16 + 8 * vmCount + 2 * cookies * Math.max(1, vmCount);
        micros = new long[room];
        steps = new Step[room];
        vms = new String[room];
        segments = new String[room];
        peers = new String[room];
    }

    /** Now. */
    long add(Step step) {
        return add(Native.micros(), step, null, null, null);
    }

    void add(Step step, String vm) {
        add(Native.micros(), step, vm, null, null);
    }

    void add(Step step, String vm, String segment, String peer) {
        add(Native.micros(), step, vm, segment, peer);
    }

    void add(long at, Step step, String vm) {
        add(at, step, vm, null, null);
    }

    private long add(long at, Step step, String vm, String segment, String peer) {
        if (n < micros.length) {
            micros[n] = at;
            steps[n] = step;
            vms[n] = vm;
            segments[n] = segment;
            peers[n] = peer;
            n++;
        }
        return at;
    }

    List<TraceStep> steps() {
        List<TraceStep> all = new ArrayList<>(n);
        for (int i = 0; i < n; i++) {
            all.add(new TraceStep(micros[i], steps[i], vms[i], segments[i], peers[i]));
        }
        return all;
    }
}
