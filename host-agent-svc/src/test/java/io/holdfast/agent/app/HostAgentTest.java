package io.holdfast.agent.app;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class HostAgentTest {
    private static final String CP = "cp-20260101t000000z-abcdef";
    private static final String NONCE = "00112233445566778899aabbccddeeff";

    @TempDir
    Path state;

    private final Fakes host = new Fakes();
    private final List<HostAgent> agents = new ArrayList<>();
    private HostAgent agent;
    private Duration prepareLimit = Duration.ofMinutes(1);
    private Duration pruneEvery = Duration.ofHours(1);
    private Duration clockOffset = Duration.ZERO;

    @AfterEach
    void stop() {
        host.blockAt.values().forEach(CountDownLatch::countDown);
        agents.forEach(HostAgent::stop);
    }

    private HostAgent newAgent() throws IOException {
        AgentSettings settings = new AgentSettings(
                "h1",
                "10.0.0.1",
                "test",
                state,
                new ImageStore.Keep(1, Duration.ofDays(7), Duration.ofHours(3)),
                pruneEvery,
                prepareLimit,
                Duration.ofMinutes(1),
                Duration.ofSeconds(5),
                2,
                Duration.ofHours(24),
                Duration.ofMinutes(10),
                Duration.ofMillis(200));
        return new HostAgent(
                settings, host.ports(), host.outbox(), Telemetry.NONE, Clock.offset(Clock.systemUTC(), clockOffset));
    }

    private void start() throws IOException {
        agent = newAgent();
        agents.add(agent);
        agent.start();
    }

    /** The agent's process died where a test holds it: what it wrote stays; a new one starts. */
    private void crashAndStart() throws IOException {
        start();
    }

    private static Command.Header header(String operation, String phase, long epoch) {
        return new Command.Header(operation, "shop", "h1", phase, 1, epoch);
    }

    private static InstanceLayout layout() {
        return new InstanceLayout(
                "shop",
                new NetworkSpec(
                        "shop", List.of(new SegmentSpec("lan", 1450)), List.of(vm("a"), vm("b"), vm("c")), Map.of()),
                List.of(
                        new InstanceLayout.HostPart("h1", "10.0.0.1", List.of("a", "b")),
                        new InstanceLayout.HostPart("h2", "10.0.0.2", List.of("c"))),
                Map.of("lan", 77));
    }

    private static VmSpec vm(String name) {
        return new VmSpec(
                name,
                1,
                "64MiB",
                Hugepages.off,
                "qemu64",
                "pc-q35-9.0",
                Accelerator.tcg,
                null,
                "/boot/vmlinuz",
                null,
                "",
                List.of(),
                List.of(new NicSpec("lan", "52:54:00:00:00:01")),
                true);
    }

    private void accept(Command.ForAgent command) {
        agent.accept(command, Instant.now(), null);
    }

    private <R extends Report> R await1(Class<R> type) {
        await().atMost(20, TimeUnit.SECONDS).until(() -> host.reports.stream().anyMatch(type::isInstance));
        return host.reports.stream()
                .filter(type::isInstance)
                .map(type::cast)
                .reduce((x, y) -> y)
                .orElseThrow();
    }

    private static Command.Deploy deploy() {
        return new Command.Deploy(header("op-1", "deploy", 1), layout());
    }

    private static Command.Prepare prepare() {
        return new Command.Prepare(header("op-2", "prepare", 1), CP, NONCE, 1000);
    }

    private static Command.Cut cut() {
        long at = (System.currentTimeMillis() + 5000) * 1000;
        return new Command.Cut(header("op-2", "cut", 1), CP, at);
    }

    private static Command.Abort abort() {
        return new Command.Abort(header("op-2", "abort", 1), CP, "the test says so");
    }

    private static Command.Load load() {
        return new Command.Load(header("op-3", "load", 1), CP, layout());
    }

    private void deployed() throws IOException {
        start();
        accept(deploy());
        await1(Report.Deployed.class);
    }

    private String vmState(String vm) {
        return host.processes.get("shop/" + vm).state;
    }

    private Path instanceFolder() {
        return state.resolve("instances/shop");
    }

    @Test
    void deploy_startsThisHostsVmsOnly() throws IOException {
        // Given
        start();
        // When
        accept(deploy());
        // Then
        assertThat(await1(Report.Deployed.class).vms()).extracting(VmState::vm).containsExactly("a", "b");
        assertThat(host.processes).containsOnlyKeys("shop/a", "shop/b");
        assertThat(instanceFolder().resolve("layout.json")).exists();
    }

    @Test
    void deployThatFails_leavesNothingAndSaysWhy() throws IOException {
        // Given
        start();
        host.failAt.add("start b");
        // When
        accept(deploy());
        // Then
        Report.Failed failed = await1(Report.Failed.class);
        assertThat(failed.code()).isEqualTo(ErrorCode.QEMU_FAILED);
        assertThat(failed.header().id()).isEqualTo("op-1/h1/deploy/1/failed");
        assertThat(host.networks).isEmpty();
        assertThat(host.processes.values()).allMatch(v -> v.state.equals("dead"));
        assertThat(instanceFolder()).doesNotExist();
    }

    @Test
    void deployOfAnInstanceThatIsHere_isRefusedAndLeavesItAlone() throws IOException {
        // Given
        deployed();
        // When
        accept(new Command.Deploy(header("op-9", "deploy", 1), layout()));
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.INSTANCE_EXISTS);
        assertThat(vmState("a")).isEqualTo("running");
    }

    @Test
    void repeatOfAFinishedCommand_sendsTheStoredReportAndDoesNothing() throws IOException {
        // Given
        deployed();
        Report first = await1(Report.Deployed.class);
        int steps = host.log.size();
        host.reports.clear();
        // When
        accept(deploy());
        // Then
        assertThat(host.reports).containsExactly(first);
        assertThat(host.log).hasSize(steps);
    }

    @Test
    void repeatOfAFinishedCommandAfterARestart_sendsTheStoredReport() throws IOException {
        // Given
        deployed();
        agent.stop();
        Report first = await1(Report.Deployed.class);
        start();
        host.reports.clear();
        // When
        accept(deploy());
        // Then
        assertThat(host.reports).containsExactly(first);
    }

    @Test
    void repeatOfARunningCommand_isIgnored() throws IOException {
        // Given
        start();
        host.blockAt.put("build open", new CountDownLatch(1));
        accept(deploy());
        await().until(() -> host.blocked.contains("build open"));
        // When
        accept(deploy());
        host.blockAt.get("build open").countDown();
        // Then
        await1(Report.Deployed.class);
        assertThat(host.reports).hasSize(1);
        assertThat(host.log).containsOnlyOnce("build open");
    }

    @Test
    void commandOfAnOlderEpoch_isRefusedAlsoAfterARestart() throws IOException {
        // Given
        start();
        accept(new Command.Deploy(header("op-1", "deploy", 5), layout()));
        await1(Report.Deployed.class);
        agent.stop();
        start();
        // When
        accept(new Command.Destroy(header("op-4", "destroy", 4)));
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.STALE_EPOCH);
        assertThat(vmState("a")).isEqualTo("running");
    }

    @Test
    void commandOfAnotherHost_isNoneOfItsBusiness() throws IOException {
        // Given
        start();
        // When
        accept(new Command.Deploy(new Command.Header("op-1", "shop", "h2", "deploy", 1, 1), layout()));
        // Then
        assertThat(host.reports).isEmpty();
        assertThat(state.resolve("commands")).isEmptyDirectory();
    }

    @Test
    void commandSentLongAgo_isRefusedButDestroyIsDone() throws IOException {
        // Given
        start();
        Instant old = Instant.now().minus(Duration.ofHours(1));
        // When
        agent.accept(deploy(), old, null);
        agent.accept(new Command.Destroy(header("op-4", "destroy", 1)), old, null);
        // Then
        await1(Report.Destroyed.class);
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.TOO_LATE);
        assertThat(host.processes).isEmpty();
    }

    @Test
    void nameThatIsAPath_isRefused() throws IOException {
        // Given
        start();
        // When
        accept(new Command.Destroy(new Command.Header("op-1", "../x", "h1", "destroy", 1, 1)));
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.INVALID_EVENT);
        assertThat(host.log).doesNotContain("remove-network");
    }

    @Test
    void destroy_leavesNothingAndCanBeRepeated() throws IOException {
        // Given
        deployed();
        // When
        accept(new Command.Destroy(header("op-4", "destroy", 1)));
        await1(Report.Destroyed.class);
        accept(new Command.Destroy(header("op-5", "destroy", 1)));
        // Then
        await().until(() ->
                host.reports.stream().filter(Report.Destroyed.class::isInstance).count() == 2);
        assertThat(host.networks).isEmpty();
        assertThat(vmState("a")).isEqualTo("dead");
        assertThat(instanceFolder()).doesNotExist();
    }

    @Test
    void checkpoint_reportsCutThenWritten() throws IOException {
        // Given
        deployed();
        accept(prepare());
        Report.Prepared prepared = await1(Report.Prepared.class);
        // When
        accept(cut());
        // Then
        Report.Written written = await1(Report.Written.class);
        assertThat(prepared.neededBytes()).isEqualTo(2 * (64L << 20));
        assertThat(written.images()).extracting(i -> i.vm()).containsExactly("a", "b");
        assertThat(written.header().id()).isEqualTo("op-2/h1/write/1/done");
        assertThat(await1(Report.CutDone.class).header().id()).isEqualTo("op-2/h1/cut/1/done");
        assertThat(host.log).containsSubsequence("cut", "frames a lan", "figures", "complete a", "seal a");
        assertThat(host.sealed).containsExactly(CP + "/a", CP + "/b");
        // and a repeat gives both reports again
        await().until(() -> host.log.contains("engine-close"));
        host.reports.clear();
        accept(new Command.Cut(header("op-2", "cut", 1), CP, 1));
        assertThat(host.reports).hasSize(2);
    }

    @Test
    void prepareWithADeadVm_namesItAndLeavesNothing() throws IOException {
        // Given
        deployed();
        host.processes.get("shop/b").state = "dead";
        // When
        accept(prepare());
        // Then
        Report.Failed failed = await1(Report.Failed.class);
        assertThat(failed.code()).isEqualTo(ErrorCode.VM_DEAD);
        assertThat(failed.message()).contains("VM b");
        assertThat(host.images).isEmpty();
    }

    @Test
    void prepareThatFailsHalfWay_closesSnapshotsAndRemovesImages() throws IOException {
        // Given
        deployed();
        host.failAt.add("engine-prepare");
        // When
        accept(prepare());
        // Then
        await1(Report.Failed.class);
        assertThat(host.images).isEmpty();
        assertThat(host.log).contains("close a", "close b");
    }

    @Test
    void preparedCheckpointWithoutACut_isGivenUpByItself() throws IOException {
        // Given
        prepareLimit = Duration.ofMillis(50);
        deployed();
        // When
        accept(prepare());
        await1(Report.Prepared.class);
        // Then
        await().until(() -> host.images.isEmpty() && host.log.contains("engine-close"));
        accept(cut());
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.INTERRUPTED);
    }

    @Test
    void cutThatComesTooLate_isRefusedAndReleasesAll() throws IOException {
        // Given
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        // When
        accept(new Command.Cut(header("op-2", "cut", 1), CP, 1));
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.TOO_LATE);
        assertThat(host.images).isEmpty();
        assertThat(host.log).contains("close a", "engine-close").doesNotContain("cut");
    }

    /** What a host says to a prepare, and to a cut, whose clock is off by that much. */
    private List<Report.Failed> withClockOff(Duration by) throws IOException {
        clockOffset = by;
        deployed();
        accept(prepare());
        accept(new Command.Cut(header("op-2", "cut", 1), CP, (System.currentTimeMillis() + 800) * 1000));
        await().until(() -> host.reports.stream().anyMatch(r -> r.header().id().startsWith("op-2/h1/cut/")));
        assertThat(host.log).doesNotContain("cut", "stop a", "stop b");
        assertThat(host.images).isEmpty();
        return host.reports.stream()
                .filter(Report.Failed.class::isInstance)
                .map(Report.Failed.class::cast)
                .toList();
    }

    @Test
    void clockASecondBehind_isRefusedByNameBeforeAnythingIsOpened() throws IOException {
        assertThat(withClockOff(Duration.ofSeconds(-1)))
                .hasSize(2)
                .allMatch(f -> f.code() == ErrorCode.CLOCK_SKEW && f.message().contains("clock of host h1"));
        assertThat(host.log).doesNotContain("image a");
    }

    @Test
    void clockAnHourBehind_isRefusedByNameBeforeAnythingIsOpened() throws IOException {
        assertThat(withClockOff(Duration.ofHours(-1)))
                .hasSize(2)
                .allMatch(f -> f.code() == ErrorCode.CLOCK_SKEW && f.message().contains("clock of host h1"));
    }

    @Test
    void clockASecondAhead_isTooLateForTheCutByName() throws IOException {
        assertThat(withClockOff(Duration.ofSeconds(1)))
                .singleElement()
                .matches(f -> f.code() == ErrorCode.TOO_LATE && f.message().contains("clock of host h1"));
    }

    @Test
    void clockAnHourAhead_isTooLateForEveryCommandByName() throws IOException {
        clockOffset = Duration.ofHours(1);
        start();
        accept(deploy());
        assertThat(await1(Report.Failed.class))
                .matches(f -> f.code() == ErrorCode.TOO_LATE && f.message().contains("clock of host h1"));
    }

    @Test
    void cutWhoseTimeIsFarAheadByThisClock_namesTheClock() throws IOException {
        // Given: a command of which nobody knows when it was sent
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        // When
        accept(new Command.Cut(header("op-2", "cut", 1), CP, (System.currentTimeMillis() + 3_600_000) * 1000));
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.CLOCK_SKEW);
        assertThat(host.images).isEmpty();
    }

    @Test
    void abortOfACutThatWaitsForItsTime_isNotKeptWaiting() throws IOException {
        // Given: the engine waits for the cut's time, as with a clock that is behind
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        host.blockAt.put("cut", host.untilClosed);
        accept(cut());
        await().until(() -> host.blocked.contains("cut"));
        // When
        accept(abort());
        // Then
        await1(Report.Aborted.class);
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.ABORTED);
        assertThat(host.images).isEmpty();
    }

    @Test
    void vmThatDoesNotAnswerAtTakeover_keepsNoOtherStanding() throws IOException {
        // Given: both stand still, and one does not answer
        deployed();
        host.processes.get("shop/a").state = "paused";
        host.processes.get("shop/b").state = "paused";
        host.blockAt.put("adopt a", new CountDownLatch(1));
        // When
        agent = newAgent();
        agents.add(agent);
        Thread starting = Thread.ofPlatform().start(() -> {
            try {
                agent.start();
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        });
        // Then
        await().until(() -> vmState("b").equals("running"));
        assertThat(starting.isAlive()).isTrue();
        host.blockAt.get("adopt a").countDown();
        await().until(() -> vmState("a").equals("running"));
    }

    @Test
    void failureAfterTheImagesAreComplete_leavesNoImage() throws IOException {
        // Given
        host.faults.arm(FaultPoint.WRITE_COMPLETE, () -> {
            throw new IOException("on purpose");
        });
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        // When
        accept(cut());
        // Then
        assertThat(await1(Report.Failed.class).header().id()).isEqualTo("op-2/h1/write/1/failed");
        await().until(() -> host.images.isEmpty() && host.sealed.isEmpty());
    }

    @Test
    void failureToReportTheCut_releasesTheCheckpoint() throws IOException {
        // Given
        host.faults.arm(FaultPoint.CUT_DONE, () -> {
            throw new IOException("on purpose");
        });
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        // When
        accept(cut());
        // Then
        await1(Report.Failed.class);
        assertThat(host.log).contains("close a", "engine-close");
        assertThat(host.images).isEmpty();
    }

    @Test
    void cutThatFails_leavesVmsRunningAndNoImage() throws IOException {
        // Given
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        host.failAt.add("cut");
        host.processes.get("shop/a").state = "paused";
        // When
        accept(cut());
        // Then
        Report.Failed failed = await1(Report.Failed.class);
        assertThat(failed.header().phase()).isEqualTo("cut");
        assertThat(vmState("a")).isEqualTo("running");
        assertThat(host.images).isEmpty();
    }

    @Test
    void writeThatFails_isReportedInItsOwnPhaseAfterTheCut() throws IOException {
        // Given
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        host.failAt.add("seal b");
        // When
        accept(cut());
        // Then
        Report.Failed failed = await1(Report.Failed.class);
        assertThat(failed.header().id()).isEqualTo("op-2/h1/write/1/failed");
        assertThat(host.reports).anyMatch(Report.CutDone.class::isInstance);
        assertThat(host.images).isEmpty();
    }

    @Test
    void abortWhileWriting_endsTheWriteAndRemovesTheImages() throws IOException {
        // Given
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        host.blockAt.put("complete a", new CountDownLatch(1));
        accept(cut());
        await().until(() -> host.blocked.contains("complete a"));
        // When
        accept(abort());
        // Then
        await1(Report.Aborted.class);
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.ABORTED);
        assertThat(host.images).isEmpty();
        assertThat(vmState("a")).isEqualTo("running");
    }

    @Test
    void abortOfSomethingUnknown_isDone() throws IOException {
        // Given
        start();
        // When
        accept(abort());
        // Then
        await1(Report.Aborted.class);
    }

    private void checkpointed() throws IOException {
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        accept(cut());
        await1(Report.Written.class);
        accept(new Command.Destroy(header("op-8", "destroy", 1)));
        await1(Report.Destroyed.class);
        host.log.clear();
    }

    @Test
    void loadAndResume_injectBeforeVmsRunAndOpenGatesLast() throws IOException {
        // Given
        checkpointed();
        // When
        accept(load());
        await1(Report.Loaded.class);
        assertThat(vmState("a")).isEqualTo("paused");
        accept(new Command.Resume(header("op-3", "resume", 1), CP, 0));
        // Then
        Report.Resumed resumed = await1(Report.Resumed.class);
        assertThat(resumed.injectedFrames()).isEqualTo(2);
        assertThat(vmState("a")).isEqualTo("running");
        assertThat(host.log)
                .containsSubsequence("build closed", "start a", "load a", "inject a 1", "cont a", "open-gates");
        assertThat(host.reports).anyMatch(Report.Progress.class::isInstance);
    }

    @Test
    void imagesOfALoad_areInUseUntilItsVmsRunAndThenItsClaimIsGivenUp() throws IOException {
        // Given
        pruneEvery = Duration.ofMillis(20);
        checkpointed();
        host.blockAt.put("load a", new CountDownLatch(1));
        accept(load());
        await().until(() -> host.blocked.contains("load a"));
        host.log.clear();
        await().until(() -> host.log.contains("prune 1 here [shop] in use [" + CP + "]"));
        host.blockAt.remove("load a").countDown();
        await1(Report.Loaded.class);
        host.log.clear();
        await().until(() -> host.log.contains("prune 1 here [shop] in use [" + CP + "]"));
        // When
        accept(new Command.Resume(header("op-3", "resume", 1), CP, 0));
        await1(Report.Resumed.class);
        // Then
        assertThat(host.log).contains("unclaim op-3");
        host.log.clear();
        await().until(() -> host.log.contains("prune 1 here [shop] in use []"));
    }

    @Test
    void destroyOfARestoreThatIsUndone_givesItsClaimUp() throws IOException {
        // Given
        start();
        // When
        accept(new Command.Destroy(header("op-3", "destroy", 2)));
        await1(Report.Destroyed.class);
        // Then
        assertThat(host.log).contains("unclaim op-3");
    }

    @Test
    void loadThatFails_leavesNothingButTheImages() throws IOException {
        // Given
        checkpointed();
        host.failAt.add("load b");
        // When
        accept(load());
        // Then
        await1(Report.Failed.class);
        assertThat(host.networks).isEmpty();
        assertThat(instanceFolder()).doesNotExist();
        assertThat(host.sealed).hasSize(2);
    }

    @Test
    void destroyWhileLoading_killsTheVmsAndIsDoneSoon() throws IOException {
        // Given
        checkpointed();
        host.reports.clear();
        host.blockAt.put("load a", new CountDownLatch(1));
        accept(load());
        await().until(() -> host.blocked.contains("load a"));
        // When
        accept(new Command.Destroy(header("op-4", "destroy", 1)));
        // Then
        await1(Report.Destroyed.class);
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.ABORTED);
        assertThat(instanceFolder()).doesNotExist();
    }

    @Test
    void resumeOfSomethingNotLoaded_isRefused() throws IOException {
        // Given
        deployed();
        // When
        accept(new Command.Resume(header("op-3", "resume", 1), CP, 0));
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.INSTANCE_NOT_RUNNING);
    }

    @Test
    void agentThatStartsAgain_takesRunningVmsOverAndRunsPausedOnes() throws IOException {
        // Given
        deployed();
        host.processes.get("shop/a").state = "paused";
        host.log.clear();
        // When
        crashAndStart();
        // Then
        assertThat(vmState("a")).isEqualTo("running");
        assertThat(host.log)
                .contains("adopt a", "adopt b", "cont a", "adopt-network 2")
                .doesNotContain("cont b");
        accept(prepare());
        await1(Report.Prepared.class);
    }

    @Test
    void agentThatDiedInTheCut_runsVmsRemovesImagesAndSaysInterrupted() throws IOException {
        // Given
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        host.blockAt.put("cut", new CountDownLatch(1));
        accept(cut());
        await().until(() -> host.blocked.contains("cut"));
        HostAgent dead = agent;
        host.processes.get("shop/a").state = "paused";
        // When
        crashAndStart();
        // Then
        Report.Failed failed = await1(Report.Failed.class);
        assertThat(failed.code()).isEqualTo(ErrorCode.INTERRUPTED);
        assertThat(failed.header().id()).isEqualTo("op-2/h1/cut/1/failed");
        assertThat(vmState("a")).isEqualTo("running");
        assertThat(host.images).isEmpty();
        assertThat(dead).isNotSameAs(agent);
    }

    @Test
    void agentThatDiedInADeploy_removesWhatWasBuilt() throws IOException {
        // Given
        start();
        host.blockAt.put("start b", new CountDownLatch(1));
        accept(deploy());
        await().until(() -> host.blocked.contains("start b") && host.processes.containsKey("shop/a"));
        // When
        crashAndStart();
        // Then
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.INTERRUPTED);
        assertThat(host.networks).isEmpty();
        assertThat(vmState("a")).isEqualTo("dead");
        assertThat(instanceFolder()).doesNotExist();
    }

    @Test
    void loadedInstanceFoundAtStart_isRemoved() throws IOException {
        // Given
        checkpointed();
        accept(load());
        await1(Report.Loaded.class);
        // When
        crashAndStart();
        // Then
        assertThat(vmState("a")).isEqualTo("dead");
        assertThat(instanceFolder()).doesNotExist();
        assertThat(host.sealed).hasSize(2);
    }

    @Test
    void destroyFoundUnfinished_isDoneAgain() throws IOException {
        // Given
        deployed();
        host.blockAt.put("remove-network", new CountDownLatch(1));
        accept(new Command.Destroy(header("op-4", "destroy", 1)));
        await().until(() -> host.blocked.contains("remove-network"));
        host.blockAt.remove("remove-network");
        // When
        crashAndStart();
        // Then
        await1(Report.Destroyed.class);
        assertThat(instanceFolder()).doesNotExist();
    }

    @Test
    void leftoverNetworkWithoutAnInstance_isRemovedAtStart() throws IOException {
        // Given
        host.networks.add("ghost");
        // When
        start();
        // Then
        assertThat(host.networks).isEmpty();
    }

    @Test
    void oneInstanceThatCannotBeTakenOver_keepsNoOtherFromIt() throws IOException {
        // Given
        deployed();
        agent.stop();
        Path broken = Files.createDirectories(state.resolve("instances/broken"));
        Files.writeString(broken.resolve("layout.json"), "{ not json");
        host.networks.add("broken");
        // When
        start();
        // Then
        assertThat(host.heartbeats).isNotNull();
        assertThat(host.networks).contains("broken", "shop");
        accept(prepare());
        await1(Report.Prepared.class);
    }

    @Test
    void brokenJournalFile_isSetAside() throws IOException {
        // Given
        Path commands = Files.createDirectories(state.resolve("commands"));
        Files.writeString(commands.resolve("ab.json"), "{ not json");
        // When
        start();
        // Then
        assertThat(commands.resolve("ab.json.broken")).exists();
        assertThat(commands.resolve("ab.json")).doesNotExist();
    }

    @Test
    void vmThatDies_isToldByTheNextHeartbeat() throws IOException {
        // Given
        deployed();
        await().until(() -> !host.heartbeats.isEmpty());
        // When
        host.processes.get("shop/b").state = "dead";
        // Then
        await().atMost(5, TimeUnit.SECONDS).until(() -> host.heartbeats.getLast().instances().stream()
                .flatMap(i -> i.vms().stream())
                .anyMatch(v -> v.vm().equals("b") && v.state().equals("dead")));
    }

    @Test
    void stop_leavesVmsRunningAndLetsGo() throws IOException {
        // Given
        deployed();
        accept(prepare());
        await1(Report.Prepared.class);
        // When
        agent.stop();
        // Then
        assertThat(vmState("a")).isEqualTo("running");
        assertThat(host.images).isEmpty();
        assertThat(host.log).contains("detach a", "detach b", "close-network").doesNotContain("kill a");
    }

    @Test
    void failureOfTheAgentItself_isReportedAndTheNextCommandIsDone() throws IOException {
        // Given: a command whose layout lacks the VXLAN id
        start();
        InstanceLayout l = layout();
        accept(new Command.Deploy(
                header("op-1", "deploy", 1), new InstanceLayout("shop", l.spec(), l.hosts(), Map.of())));
        assertThat(await1(Report.Failed.class).code()).isEqualTo(ErrorCode.INVALID_EVENT);
        // When
        accept(new Command.Deploy(header("op-2", "deploy", 1), l));
        // Then
        await1(Report.Deployed.class);
    }

    @Test
    void finishedCommands_areForgottenAfterTheirRetention() throws IOException {
        // Given
        CommandJournal journal = new CommandJournal(state.resolve("commands"));
        Instant then = Instant.parse("2026-01-01T00:00:00Z");
        journal.accept(deploy(), then, null);
        journal.accept(prepare(), then, null);
        journal.report(
                deploy().header().id(),
                new Report.Deployed(Report.Header.of(deploy().header(), "deploy", "done"), List.of()),
                true);
        // When
        int removed = journal.prune(then.plus(Duration.ofHours(25)), Duration.ofHours(24));
        // Then
        assertThat(removed).isEqualTo(1);
        assertThat(journal.status(deploy().header().id())).isEqualTo(CommandJournal.Status.NEW);
        assertThat(journal.status(prepare().header().id())).isEqualTo(CommandJournal.Status.RUNNING);
    }
}
