package io.holdfast.coordinator.domain;

import io.holdfast.schemas.event.ArchiveFigures;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.Maintenance;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.SpecNormalizer;
import io.holdfast.schemas.spec.VmSpec;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Records as hosts and clients would send them. */
public final class Fixture {
    public static final Instant T0 = Instant.parse("2026-01-02T03:04:05Z");
    public static final long GIB = 1L << 30;

    private Fixture() {}

    /** A complete spec with VMs a, b, ... of 256 MiB on one segment. */
    public static NetworkSpec spec(String name, int vms, Map<String, String> placement) {
        var list = new ArrayList<VmSpec>();
        for (int i = 0; i < vms; i++) {
            list.add(new VmSpec(
                    String.valueOf((char) ('a' + i)),
                    1,
                    "256MiB",
                    null,
                    null,
                    null,
                    null,
                    null,
                    "/boot/vmlinuz",
                    "/boot/initrd",
                    "console=ttyS0",
                    null,
                    List.of(new NicSpec("lan", null)),
                    null));
        }
        return SpecNormalizer.normalize(new NetworkSpec(name, List.of(new SegmentSpec("lan", null)), list, placement));
    }

    /** A decider that keeps one finished operation. */
    static Decider forgetful() {
        Settings d = Settings.defaults();
        return new Decider(new Settings(
                d.cutLead(),
                d.cutLimit(),
                d.alive(),
                d.lost(),
                d.settle(),
                d.resend(),
                d.retryFirst(),
                d.retryMost(),
                1,
                10,
                20,
                d.defaultLimit(),
                d.limits()));
    }

    public static Input.Requested request(String id, Request request) {
        return new Input.Requested(id, "/test", request, "00112233445566778899aabbccddeeff", Map.of());
    }

    public static Heartbeat.Agent agent(String host, long free, List<Heartbeat.InstanceState> instances) {
        return new Heartbeat.Agent(
                host,
                "10.0.0." + host.substring(1),
                "1",
                "10.0.2",
                "tcg",
                "no kvm",
                2,
                8 * GIB,
                free,
                0,
                GIB,
                instances);
    }

    public static Heartbeat.Storage storage(String host) {
        return new Heartbeat.Storage(host, "1", "bucket", true);
    }

    public static VmState vm(String name, String state) {
        return new VmState(
                name,
                state,
                state.equals("dead") ? 0 : 100,
                "tcg",
                false,
                "10.0.2",
                state.equals("dead") ? "killed" : null);
    }

    /** The reports by which a host answers a command when all goes well. */
    public static List<Report> answers(Command c, List<String> vms) {
        Command.Header h = c.header();
        var states = vms.stream().map(v -> vm(v, "running")).toList();
        return switch (c) {
            case Command.Deploy d -> List.of(new Report.Deployed(done(h, "deploy"), states));
            case Command.Prepare p -> List.of(new Report.Prepared(done(h, "prepare"), 1, 2, states));
            case Command.Cut p ->
                List.of(
                        new Report.CutDone(done(h, "cut"), cut(h.host(), p.startAtMicros(), vms)),
                        new Report.Written(
                                done(h, "write"),
                                vms.stream()
                                        .map(v -> new VmImage(
                                                v, 256 << 20, 1000, List.of(), new VmImage.Capture(7, 0, 9, 0)))
                                        .toList()));
            case Command.Abort a -> List.of(new Report.Aborted(done(h, "abort")));
            case Command.Load l -> List.of(new Report.Loaded(done(h, "load"), states));
            case Command.Resume r -> List.of(new Report.Resumed(done(h, "resume"), states, 3));
            case Command.Destroy d -> List.of(new Report.Destroyed(done(h, "destroy")));
            case Command.Archive a ->
                List.of(new Report.Archived(
                        done(h, "archive"),
                        vms.stream()
                                .map(v -> new VmArchive(v, "vms/" + a.checkpoint() + "/" + v + ".json", "0".repeat(64)))
                                .toList(),
                        new ArchiveFigures(h.host(), 10, 9, 8, 7, 6)));
            case Command.Commit m ->
                List.of(new Report.Committed(
                        done(h, "commit"),
                        "checkpoints/" + m.manifest().checkpoint() + ".json",
                        "a".repeat(64),
                        m.manifest()));
            case Command.Pull p -> List.of(new Report.Pulled(done(h, "pull"), 5, 6));
            case Command.Verify v ->
                List.of(new Report.Verified(
                        done(h, "verify"),
                        new Maintenance.VerifyResult(
                                v.checkpoint(), v.samplePercent(), 1, 2, 3, 4, 5, 6, true, List.of(), 0, List.of())));
            case Command.Forget f ->
                List.of(new Report.Forgotten(
                        done(h, "forget"),
                        new Maintenance.ForgetResult(
                                f.dryRun(),
                                f.checkpoints().stream()
                                        .map(id -> new Maintenance.ForgetEntry(id, "net", T0, List.of()))
                                        .toList(),
                                List.of(),
                                0,
                                null)));
            case Command.Prune p ->
                List.of(new Report.Pruned(
                        done(h, "prune"),
                        new Maintenance.PruneResult(p.dryRun(), 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 0, 0L, 0L, 60, T0)));
            case Command.Hold d -> List.of(new Report.Held(done(h, "hold"), d.checkpoint(), false, "note"));
            case Command.Release r -> List.of(new Report.Released(done(h, "release"), r.checkpoint()));
            case Command.Stats s ->
                List.of(new Report.Counted(
                        done(h, "stats"),
                        new Maintenance.StatsResult(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, List.of())));
            case Command.Rebuild r ->
                List.of(new Report.Rebuilt(
                        done(h, "rebuild"),
                        new Maintenance.RebuildResult(r.dryRun(), 1, 1, 1, 0, List.of(), List.of(), 0, null)));
        };
    }

    public static Report failed(Command c, ErrorCode code) {
        return new Report.Failed(
                Report.Header.of(c.header(), c.header().phase(), "failed"), code, "it went wrong", "look");
    }

    private static Report.Header done(Command.Header h, String phase) {
        return Report.Header.of(h, phase, "done");
    }

    private static CutFigures.HostCut cut(String host, long start, List<String> vms) {
        return new CutFigures.HostCut(
                host,
                start,
                start + 1,
                start + 2,
                start + 3,
                start + 4,
                start + 5,
                start + 6,
                start + 7,
                vms.stream()
                        .map(v -> new CutFigures.VmCut(
                                v,
                                start + 3,
                                start + 5,
                                start + 7,
                                4,
                                List.of(new CutFigures.NicLedger(0, "lan", 10, 8, 2, 0, 2))))
                        .toList(),
                List.of());
    }
}
