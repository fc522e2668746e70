package io.holdfast.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpServer;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.Maintenance;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.SpecReader;
import io.holdfast.schemas.view.CheckpointView;
import io.holdfast.schemas.view.ErrorView;
import io.holdfast.schemas.view.EventLine;
import io.holdfast.schemas.view.HostView;
import io.holdfast.schemas.view.InstanceView;
import io.holdfast.schemas.view.OperationView;
import io.holdfast.schemas.view.RequestAccepted;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MainTest {
    private static final String OPERATION = "op-0123456789abcdef";

    private record Answer(int status, String body) {}

    private final Map<String, Answer> answers = new ConcurrentHashMap<>();
    private final Map<String, String> received = new ConcurrentHashMap<>();
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();
    private HttpServer server;

    @BeforeEach
    void start() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", x -> {
            String key = x.getRequestMethod() + " " + x.getRequestURI().getPath();
            received.put(key, new String(x.getRequestBody().readAllBytes(), StandardCharsets.UTF_8));
            Answer a = answers.getOrDefault(key, new Answer(404, ""));
            byte[] body = a.body().getBytes(StandardCharsets.UTF_8);
            x.sendResponseHeaders(a.status(), body.length == 0 ? -1 : body.length);
            x.getResponseBody().write(body);
            x.close();
        });
        server.start();
    }

    @AfterEach
    void stop() {
        server.stop(0);
    }

    private int run(String... args) {
        String[] all = new String[args.length + 2];
        all[0] = "--server";
        all[1] = "http://127.0.0.1:" + server.getAddress().getPort();
        System.arraycopy(args, 0, all, 2, args.length);
        return Main.run(stream(out), stream(err), all);
    }

    private static PrintStream stream(ByteArrayOutputStream to) {
        return new PrintStream(to, true, StandardCharsets.UTF_8);
    }

    private String out() {
        return out.toString(StandardCharsets.UTF_8);
    }

    private String err() {
        return err.toString(StandardCharsets.UTF_8);
    }

    private void answer(String key, int status, Object body) throws IOException {
        answers.put(key, new Answer(status, Api.json().writeValueAsString(body)));
    }

    private static OperationView operation(String state, ErrorCode code, List<Problem> problems) {
        return new OperationView(
                OPERATION,
                OperationKind.checkpoint,
                "net",
                "r1",
                "/test",
                state,
                "prepare",
                "cp-1",
                Instant.EPOCH,
                Instant.EPOCH.plusSeconds(1),
                code,
                code == null ? null : "it broke",
                code == null ? null : "mend it",
                problems,
                List.of(),
                Map.of("prepare", 12L),
                null);
    }

    @Test
    void hostThatWaitsForTheBucketIsToldWithTheTimeAndTheReason() {
        // When
        var line = waiting(
                Instant.parse("2026-01-01T00:00:05Z"),
                new PublicEvent.HostFailure("h1", ErrorCode.REPOSITORY_FULL, "no room", "make some"));
        // Then
        assertThat(line).contains("archive on h1 waits, tried again at 2026-01-01T00:00:05Z: REPOSITORY_FULL: no room");
    }

    @Test
    void hostThatIsWaitedForBecauseItIsSilentIsToldWithTheReasonAndNoTime() {
        // When
        var line = waiting(
                null, new PublicEvent.HostFailure("h1", ErrorCode.HOST_UNAVAILABLE, "not heard of", "start it"));
        // Then
        assertThat(line)
                .contains("archive on h1 waits, goes on when it is heard of again: HOST_UNAVAILABLE: not heard of");
    }

    /** How it is told that the archive of h1 waits. */
    private static Optional<String> waiting(Instant again, PublicEvent.HostFailure why) {
        var waiting = new PublicEvent.Progressed(
                OPERATION,
                OperationKind.checkpoint,
                "net",
                "archive",
                "h1",
                "waiting",
                null,
                null,
                null,
                null,
                again,
                why);
        return Waiter.describe(new EventLine(
                EventType.OPERATION_PROGRESSED.typeName(),
                "id",
                Instant.EPOCH,
                OPERATION,
                Api.json().valueToTree(waiting)));
    }

    @Test
    void listShowsInstancesAsTable() throws IOException {
        // Given
        answer(
                "GET /api/v1/instances",
                200,
                List.of(new InstanceView("net", "ring", "running", List.of("h1", "h2"), List.of(), null, null)));
        // When
        int status = run("list");
        // Then
        assertThat(status).isZero();
        assertThat(out().lines()).hasSize(2).last().asString().matches("net +ring +running +0 +h1,h2 +- +-");
        assertThat(err()).isEmpty();
    }

    @Test
    void listAsJsonIsTheServersAnswer() throws IOException {
        // Given
        var view = List.of(new InstanceView("net", "ring", "running", List.of("h1"), List.of(), null, null));
        answer("GET /api/v1/instances", 200, view);
        // When
        int status = run("list", "-o", "json");
        // Then
        assertThat(status).isZero();
        assertThat(Api.json().readTree(out())).isEqualTo(Api.json().valueToTree(view));
    }

    @Test
    void completedCheckpointPrintsItsId() throws IOException {
        // Given
        answer("POST /api/v1/requests/checkpoint", 202, new RequestAccepted("r1", OPERATION));
        answer("GET /api/v1/operations/" + OPERATION, 200, operation("completed", null, List.of()));
        // When
        int status = run("checkpoint", "net", "--label", "before");
        // Then
        assertThat(status).isZero();
        assertThat(out()).startsWith("cp-1");
        assertThat(received.get("POST /api/v1/requests/checkpoint")).contains("\"net\"", "\"before\"");
    }

    @Test
    void failedOperationExitsOneAndTellsTheRemedy() throws IOException {
        // Given
        answer("POST /api/v1/requests/checkpoint", 202, new RequestAccepted("r1", OPERATION));
        answer("GET /api/v1/operations/" + OPERATION, 200, operation("failed", ErrorCode.VM_DEAD, List.of()));
        // When
        int status = run("checkpoint", "net");
        // Then
        assertThat(status).isEqualTo(1);
        assertThat(err()).contains("VM_DEAD", "it broke", "mend it", OPERATION);
        assertThat(out()).isEmpty();
    }

    @Test
    void rejectedRequestExitsThree() throws IOException {
        // Given
        answer("POST /api/v1/requests/checkpoint", 202, new RequestAccepted("r1", OPERATION));
        answer(
                "GET /api/v1/operations/" + OPERATION,
                200,
                operation(
                        "rejected",
                        null,
                        List.of(new Problem(ErrorCode.UNKNOWN_INSTANCE, "/instance", "no net", "see list"))));
        // When
        int status = run("checkpoint", "net");
        // Then
        assertThat(status).isEqualTo(3);
        assertThat(err()).contains("UNKNOWN_INSTANCE: /instance: no net", "see list");
    }

    @Test
    void badSpecListsEveryProblem(@TempDir Path dir) throws IOException {
        // Given
        Path spec = Files.writeString(dir.resolve("net.yaml"), "name: x");
        answer(
                "POST /api/v1/specs/validate",
                400,
                new ErrorView(List.of(
                        new Problem(ErrorCode.INVALID_SPEC, "/vms", "is empty", "add a VM"),
                        new Problem(ErrorCode.INVALID_SPEC, "/name", "is bad", "use a-z"))));
        // When
        int status = run("apply", spec.toString());
        // Then
        assertThat(status).isEqualTo(3);
        assertThat(err()).contains("/vms: is empty", "/name: is bad");
    }

    @Test
    void unknownThingsExitFive() {
        assertThat(run("show", "nothing")).isEqualTo(5);
        assertThat(run("operation", "op-x")).isEqualTo(5);
        assertThat(run("checkpoint", "show", "cp-x")).isEqualTo(5);
        assertThat(run("apply", "/nonexistent/file.yaml")).isEqualTo(5);
        assertThat(err()).contains("no instance 'nothing'", "no checkpoint 'cp-x'");
    }

    @Test
    void wrongUsageExitsTwo() {
        assertThat(run("checkpoint")).isEqualTo(2);
        assertThat(err()).contains("holdfast checkpoint --help").doesNotContain("Usage:");
        assertThat(run("frobnicate")).isEqualTo(2);
        assertThat(run("restore", "cp-1", "--place", "nonsense")).isEqualTo(2);
        assertThat(run()).isEqualTo(2);
    }

    @Test
    void noServerExitsFour() {
        // Given
        server.stop(0);
        // When
        int status = run("list");
        // Then
        assertThat(status).isEqualTo(4);
        assertThat(err()).contains("no coordinator at");
    }

    @Test
    void cutFiguresShowLedgerOfEachVm() {
        // Given
        var nic = new CutFigures.NicLedger(0, "red", 10, 7, 3, 0, 2);
        var cut = new CutFigures(List.of(new CutFigures.HostCut(
                "h1",
                0,
                10,
                20,
                30,
                40,
                50,
                60,
                70,
                List.of(new CutFigures.VmCut("a", 30, 50, 70, 41_000, List.of(nic))),
                List.of())));
        // When
        Figures.vms(cut, stream(out));
        // Then
        assertThat(out()).contains("41.0 ms", "balances", "frames in flight 3").doesNotContain("DOES NOT");
    }

    @Test
    void checkpointShowsAllItsEvidence() throws IOException {
        // Given: the contract's example, with cookies in its trace
        CheckpointManifest example;
        try (InputStream in = CheckpointManifest.class.getResourceAsStream(
                "/io/holdfast/schemas/examples/io.holdfast.catalog.checkpoint.v1.json")) {
            example = Api.json().readValue(in, CheckpointManifest.class);
        }
        List<CutFigures.HostCut> hosts = example.cut().hosts().stream()
                .map(h -> withTrace(
                        h,
                        heard(h, CutFigures.Step.stopped_heard, 700),
                        heard(h, CutFigures.Step.captured_heard, 22_300)))
                .toList();
        var manifest = new CheckpointManifest(
                example.format(),
                example.checkpoint(),
                example.instance(),
                example.label(),
                example.takenAt(),
                example.layout(),
                example.vms(),
                example.machines(),
                new CutFigures(hosts));
        answer(
                "GET /api/v1/checkpoints/cp-1",
                200,
                new CheckpointView(
                        "cp-1",
                        "lab",
                        null,
                        example.takenAt(),
                        null,
                        "checkpoints/cp-1",
                        "ab".repeat(32),
                        manifest,
                        false));
        // When
        int status = run("checkpoint", "show", "cp-1");
        // Then: counters per NIC, times per VM, skew, cookies, digests
        assertThat(err()).isEmpty();
        assertThat(status).isZero();
        assertThat(out().lines().map(l -> l.replaceAll(" +", " ").strip()))
                .contains(
                        "vm1 0 left 51230 51226 4 0 2",
                        "vm1 h1 0.0 ms 21.7 ms 23.2 ms",
                        "vm2 h2 0.2 ms 21.9 ms 23.4 ms",
                        "left h1 h2 0.7 ms 22.3 ms",
                        "longest pause 23.2 ms, skew between stops 0.2 ms, frames in flight 8")
                .anyMatch(l -> l.contains("sha256 " + "ab".repeat(32)))
                .anyMatch(l -> l.startsWith("vm1 vms/") && l.contains(" 9f86d081884c7d65"));
    }

    private static CutFigures.TraceStep heard(CutFigures.HostCut h, CutFigures.Step step, long afterMicros) {
        String peer = h.host().equals("h1") ? "h2" : "h1";
        return new CutFigures.TraceStep(h.gatesClosedMicros() + afterMicros, step, "vm1", "left", peer);
    }

    private static CutFigures.HostCut withTrace(CutFigures.HostCut h, CutFigures.TraceStep... trace) {
        return new CutFigures.HostCut(
                h.host(),
                h.startMicros(),
                h.gatesClosedMicros(),
                h.deliveredMicros(),
                h.stoppedMicros(),
                h.channelsMicros(),
                h.armedMicros(),
                h.capturedMicros(),
                h.runningMicros(),
                h.vms(),
                List.of(trace));
    }

    @Test
    void inspectListsFramesOfPcapng(@TempDir Path dir) throws IOException {
        // Given
        ByteBuffer b = ByteBuffer.allocate(256).order(ByteOrder.LITTLE_ENDIAN);
        b.putInt(0x0a0d0d0a).putInt(28).putInt(0x1a2b3c4d).putInt(1).putLong(-1).putInt(28);
        b.putInt(6).putInt(12 + 20 + 16).putInt(0).putLong(0).putInt(14).putInt(14);
        b.put(new byte[] {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06, 0, 0}).putInt(12 + 20 + 16);
        Path file = dir.resolve("frames-0.pcapng");
        Files.write(file, java.util.Arrays.copyOf(b.array(), b.position()));
        // When
        int status = run("inspect", file.toString());
        // Then
        assertThat(status).isZero();
        assertThat(out()).contains("1 frame", "02:00:00:00:00:02 -> 02:00:00:00:00:01", "0x0806");
    }

    @Test
    void inspectSaysWhatIsDamaged(@TempDir Path dir) throws IOException {
        // Given
        Path file = Files.writeString(dir.resolve("devices.bin"), "not what it should be");
        // When
        int status = run("inspect", file.toString());
        // Then
        assertThat(status).isZero();
        assertThat(out()).contains("DAMAGED");
    }

    @Test
    void exampleSpecIsValid() throws Exception {
        // Given
        String text = Files.readString(Path.of("../guest/ring.yaml")).replace("${HOLDFAST_GUEST}", "/guest");
        // When
        NetworkSpec spec = SpecReader.read(text);
        // Then
        assertThat(spec.vms()).hasSize(3);
        assertThat(spec.vm("a").initrd()).isEqualTo("/guest/initrd.gz");
    }

    @Test
    void theReadmesSpecIsValid() throws Exception {
        // Given
        String readme = Files.readString(Path.of("../../README.md"));
        int start = readme.indexOf("```yaml\n") + 8;
        String text = readme.substring(start, readme.indexOf("```", start)).replace("${HOLDFAST_GUEST}", "/guest");
        // When
        NetworkSpec spec = SpecReader.read(text);
        // Then
        assertThat(spec.name()).isEqualTo("lab");
        assertThat(spec.vm("left").kernel()).isEqualTo("/guest/vmlinuz");
    }

    @Test
    void hostsSaysWhyAnAcceleratorIsUsed() throws IOException {
        // Given
        answer("GET /api/v1/hosts", 200, List.of(host("h2"), host("h1")));
        // When
        int status = run("hosts");
        // Then
        assertThat(status).isZero();
        assertThat(out().lines()).hasSize(4).last().isEqualTo("h1, h2: tcg because: /dev/kvm cannot be opened");
    }

    private static HostView host(String name) {
        var agent = new Heartbeat.Agent(
                name, "10.0.0.1", "1", "10.0.2", "tcg", "/dev/kvm cannot be opened", 2, 1, 1, 0, 1, List.of());
        return new HostView(name, "partly", true, false, Instant.EPOCH, null, agent, null);
    }

    @Test
    void unsetVariableInSpecIsRefused(@TempDir Path dir) throws IOException {
        // Given
        Path spec = Files.writeString(dir.resolve("net.yaml"), "name: ${NO_SUCH_VARIABLE_HERE}");
        // When
        int status = run("apply", spec.toString());
        // Then
        assertThat(status).isEqualTo(3);
        assertThat(err()).contains("NO_SUCH_VARIABLE_HERE");
    }

    private OperationView maintained(OperationKind kind, Object completed) {
        return new OperationView(
                OPERATION,
                kind,
                null,
                "r1",
                "/test",
                "completed",
                null,
                null,
                Instant.EPOCH,
                Instant.EPOCH.plusSeconds(1),
                null,
                null,
                null,
                List.of(),
                List.of(),
                Map.of(),
                Api.json().valueToTree(completed));
    }

    private void completes(OperationKind kind, Object completed) throws IOException {
        answer("POST /api/v1/requests/" + kind, 202, new RequestAccepted("r1", OPERATION));
        answer("GET /api/v1/operations/" + OPERATION, 200, maintained(kind, completed));
    }

    private static Maintenance.VerifyResult verified(List<Maintenance.Damage> damages, List<String> checkpoints) {
        return new Maintenance.VerifyResult(
                null, 10, 2, 4, 5, 6, 1, 7, damages.isEmpty(), damages, damages.size(), checkpoints);
    }

    @Test
    void verifyOfASoundRepository_endsWithZero() throws Exception {
        completes(OperationKind.verify, new PublicEvent.VerifyCompleted(OPERATION, verified(List.of(), List.of()), 5));

        assertThat(run("verify", "--sample", "10%")).isZero();

        assertThat(received.get("POST /api/v1/requests/verify")).isEqualTo("{\"samplePercent\":10}");
        assertThat(out())
                .contains("6 packs looked for, 1 of them read")
                .contains("sound as far as it was read")
                .contains("the other 5 packs");
    }

    @Test
    void verifyThatReadNoPack_callsNothingSound() throws Exception {
        completes(
                OperationKind.verify,
                new PublicEvent.VerifyCompleted(
                        OPERATION,
                        new Maintenance.VerifyResult(null, 0, 2, 4, 5, 6, 0, 0, true, List.of(), 0, List.of()),
                        5));

        assertThat(run("verify", "--sample", "0")).isZero();

        assertThat(received.get("POST /api/v1/requests/verify")).isEqualTo("{\"samplePercent\":0}");
        assertThat(out()).contains("NONE WAS READ").doesNotContain("sound");
    }

    @Test
    void verifyThatReadAll_saysSoundAndNoMore() throws Exception {
        completes(
                OperationKind.verify,
                new PublicEvent.VerifyCompleted(
                        OPERATION,
                        new Maintenance.VerifyResult("cp-1", 100, 1, 4, 5, 6, 6, 99, true, List.of(), 0, List.of()),
                        5));

        assertThat(run("verify", "cp-1")).isZero();

        assertThat(out()).contains("checkpoint cp-1 is sound\n");
    }

    @Test
    void verifyThatFindsDamage_namesItAndTheCheckpoints_andEndsWithOne() throws Exception {
        var damage = new Maintenance.Damage(
                "packs/ab", "corrupt", "object packs/ab: its digest is not its name", List.of("cp-1"), 1);
        completes(
                OperationKind.verify,
                new PublicEvent.VerifyCompleted(OPERATION, verified(List.of(damage), List.of("cp-1")), 5));

        assertThat(run("verify", "cp-1")).isEqualTo(1);

        assertThat(received.get("POST /api/v1/requests/verify")).isEqualTo("{\"checkpoint\":\"cp-1\"}");
        assertThat(out())
                .contains("packs/ab")
                .contains("corrupt")
                .doesNotContain("object packs/ab")
                .contains("DAMAGED")
                .contains("cp-1");
    }

    @Test
    void verifyAsJson_isTheOperation_andStillEndsWithOne() throws Exception {
        var damage = new Maintenance.Damage("packs/ab", "missing", "is missing", List.of(), 0);
        completes(
                OperationKind.verify,
                new PublicEvent.VerifyCompleted(OPERATION, verified(List.of(damage), List.of()), 5));

        assertThat(run("-o", "json", "verify")).isEqualTo(1);

        assertThat(Api.json()
                        .readTree(out())
                        .path("completed")
                        .path("result")
                        .path("sound")
                        .asBoolean(true))
                .isFalse();
    }

    @Test
    void aSampleThatIsNoPartIsRefused() {
        assertThat(run("verify", "--sample", "101%")).isEqualTo(2);
        assertThat(run("verify", "--sample", "some")).isEqualTo(2);
    }

    @Test
    void forgetByPolicy_asksForIt_andShowsWhatStaysAndWhy() throws Exception {
        completes(
                OperationKind.forget,
                new PublicEvent.ForgetCompleted(
                        OPERATION,
                        new Maintenance.ForgetResult(
                                true,
                                List.of(new Maintenance.ForgetEntry("cp-1", "net", Instant.EPOCH, List.of())),
                                List.of(new Maintenance.ForgetEntry(
                                        "cp-2", "net", Instant.EPOCH, List.of("last", "held"))),
                                0,
                                1234),
                        5));

        assertThat(run("forget", "--instance", "net", "--keep-last", "1", "--keep-daily", "7", "--dry-run"))
                .isZero();

        assertThat(received.get("POST /api/v1/requests/forget"))
                .isEqualTo("{\"instance\":\"net\",\"keep\":{\"last\":1,\"daily\":7},\"dryRun\":true}");
        assertThat(out()).contains("last,held").contains("1 would be forgotten, 1234 kept");
    }

    @Test
    void forgetNeedsEitherNamesOrAPolicy() {
        assertThat(run("forget")).isEqualTo(2);
        assertThat(run("forget", "cp-1", "--keep-last", "1")).isEqualTo(2);
        assertThat(received).isEmpty();
    }

    @Test
    void pruneShowsWhatIsMarkedAndWhenItGoes() throws Exception {
        completes(
                OperationKind.prune,
                new PublicEvent.PruneCompleted(
                        OPERATION,
                        new Maintenance.PruneResult(
                                false,
                                4,
                                1 << 20,
                                10,
                                3,
                                2 << 20,
                                0,
                                0,
                                1,
                                100,
                                2,
                                1,
                                5,
                                80L << 20,
                                12L << 20,
                                86400,
                                Instant.EPOCH),
                        5));

        assertThat(run("prune")).isZero();

        assertThat(out())
                .contains("marked")
                .contains("2.0 MiB")
                .contains("is deleted by a prune after")
                .containsPattern("repacked +5 +80")
                .contains("12.0 MiB were written anew");
    }

    @Test
    void statsHoldReleaseAndRebuildSayWhatCameOfThem() throws Exception {
        completes(
                OperationKind.stats,
                new PublicEvent.StatsCompleted(
                        OPERATION,
                        new Maintenance.StatsResult(
                                1,
                                2,
                                3 << 20,
                                2 << 20,
                                1 << 20,
                                1 << 19,
                                5,
                                6,
                                25,
                                8,
                                9,
                                1,
                                List.of(new Maintenance.InstanceStats("net", 1, 3, 2, 1))),
                        5));
        assertThat(run("stats", "net")).isZero();
        assertThat(out())
                .contains("in all 1 checkpoints")
                .contains("25 % of the data")
                .contains("net");

        completes(
                OperationKind.hold,
                new PublicEvent.HoldCompleted(
                        OPERATION, "cp-1", "why", Instant.EPOCH, false, "the bucket has no S3 Object Lock", 5));
        assertThat(run("hold", "cp-1", "--reason", "why", "--until", "2027-01-31T00:00:00Z"))
                .isZero();
        assertThat(received.get("POST /api/v1/requests/hold")).contains("2027-01-31T00:00:00Z");
        assertThat(out()).contains("no S3 Object Lock");
        assertThat(run("hold", "cp-1", "--until", "tomorrow")).isEqualTo(2);

        completes(OperationKind.release, new PublicEvent.ReleaseCompleted(OPERATION, "cp-1", 5));
        assertThat(run("release", "cp-1")).isZero();

        completes(
                OperationKind.rebuild,
                new PublicEvent.RebuildCompleted(
                        OPERATION,
                        new Maintenance.RebuildResult(true, 3, 2, 1, 0, List.of("cp-1"), List.of(), 0, 12_345),
                        5));
        assertThat(run("rebuild", "--dry-run")).isZero();
        assertThat(out()).contains("3 packs, 2 of them in no index").contains("12345 checkpoints");
    }
}
