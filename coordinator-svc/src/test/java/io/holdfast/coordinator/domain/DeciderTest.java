package io.holdfast.coordinator.domain;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.Names;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class DeciderTest {
    private final Decider decider = new Decider(Settings.defaults());
    private State state = State.of(1, null, null, null);
    private Instant now = Fixture.T0;
    private List<Effect> last = List.of();
    /** Hosts whose storage service or agent is silent. */
    private final Set<String> noStorage = new HashSet<>();

    private final Set<String> noAgent = new HashSet<>();

    // ---- requests that are refused

    @Test
    void givenNoInstance_whenACheckpointIsAsked_itIsRejectedUnknown() {
        hosts("h1");

        ask("c", new Request.Checkpoint("nope", null));

        assertThat(rejected()).singleElement().satisfies(p -> {
            assertThat(p.code()).isEqualTo(ErrorCode.UNKNOWN_INSTANCE);
            assertThat(p.message()).contains("nope");
        });
        assertThat(journal()).isEmpty();
    }

    @Test
    void givenARunningInstance_whenTheSameNameIsDeployed_itIsRejected() {
        running("net", 2, "h1");

        ask("again", deploy("net", 1, Map.of()));

        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.INSTANCE_EXISTS);
    }

    @Test
    void givenAnOperationAtWork_whenAnotherIsAsked_itIsRejectedBusy() {
        running("net", 2, "h1");
        ask("c1", new Request.Checkpoint("net", null));

        ask("c2", new Request.Checkpoint("net", null));

        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.INSTANCE_BUSY);
    }

    @Test
    void givenAHostThatIsGone_whenACheckpointIsAsked_itIsRejectedNamingTheHost() {
        running("net", 2, "h1", "h2");
        now = now.plusSeconds(6);
        beat("h1", new Heartbeat.InstanceState("net", List.of(Fixture.vm("a", "running"))));

        ask("c", new Request.Checkpoint("net", null));

        assertThat(rejected()).singleElement().satisfies(p -> {
            assertThat(p.code()).isEqualTo(ErrorCode.HOST_UNAVAILABLE);
            assertThat(p.message()).contains("h2");
        });
    }

    @Test
    void givenADeadVm_whenACheckpointIsAsked_itIsRejectedNamingTheVm() {
        running("net", 1, "h1");
        now = now.plusSeconds(1);
        beat("h1", new Heartbeat.InstanceState("net", List.of(Fixture.vm("a", "dead"))));
        assertThat(published(PublicEvent.VmExited.class)).singleElement().satisfies(e -> assertThat(e.vm())
                .isEqualTo("a"));

        ask("c", new Request.Checkpoint("net", null));

        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.VM_DEAD);
    }

    @Test
    void givenABadName_whenItIsDeployed_itIsRejected() {
        hosts("h1");

        ask("d", new Request.Deploy(Fixture.spec("net", 1, Map.of()), "../etc"));

        assertThat(rejected()).extracting(Problem::field).containsExactly("/instance");
    }

    @Test
    void givenNoCheckpoint_whenARestoreIsAsked_itIsRejectedUnknown() {
        hosts("h1");

        ask("r", new Request.Restore("cp-x", null, null, null));

        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.UNKNOWN_CHECKPOINT);
    }

    @Test
    void givenAGoneHost_whenADestroyIsAskedWithoutForce_itIsRejected_andWithForceItIsLeftOut() {
        running("net", 2, "h1", "h2");
        now = now.plusSeconds(6);
        beat("h1");

        ask("d1", new Request.Destroy("net", false));
        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.HOST_UNAVAILABLE);

        ask("d2", new Request.Destroy("net", true));
        assertThat(commands()).extracting(c -> c.header().host()).containsExactly("h1", "h2");
        answer("h1");

        assertThat(published(PublicEvent.DestroyCompleted.class)).hasSize(1);
        assertThat(state.instances()).isEmpty();
    }

    @Test
    void givenHostsThatAreSlowToGetReady_whenTheCutIsSet_itIsTwiceThatFarAhead() {
        running("net", 1, "h1");
        ask("c", new Request.Checkpoint("net", null));
        Command prepare = commands().getFirst();
        now = now.plusSeconds(2);

        answer(prepare);

        assertThat(commands()).singleElement().isInstanceOfSatisfying(Command.Cut.class, c -> assertThat(
                        c.startAtMicros() / 1000)
                .isEqualTo(now.plusSeconds(4).toEpochMilli()));
    }

    @Test
    void givenACheckpointThatIsBeingTaken_whenItIsToBeForgotten_itIsRejectedBusy() {
        String checkpoint = archiving().stream()
                .map(c -> ((Command.Archive) c).checkpoint())
                .findFirst()
                .orElseThrow();

        ask("f", new Request.Forget(List.of(checkpoint), null, null, null));

        assertThat(rejected()).singleElement().satisfies(p -> {
            assertThat(p.code()).isEqualTo(ErrorCode.REPOSITORY_BUSY);
            assertThat(p.message()).contains(checkpoint);
        });
    }

    // ---- repeats and identity

    @Test
    void givenADoneRequest_whenItIsRepeated_theAnswersAreRepeatedAndNothingElseHappens() {
        running("net", 1, "h1");

        ask("deploy-net", deploy("net", 1, Map.of()));

        assertThat(journal()).isEmpty();
        assertThat(commands()).isEmpty();
        assertThat(published(PublicEvent.Accepted.class)).hasSize(1);
        assertThat(published(PublicEvent.DeployCompleted.class)).hasSize(1);
    }

    @Test
    void givenARequest_whenItIsAccepted_idsAreAsTheContractSays() {
        running("net", 1, "h1");

        ask("c", new Request.Checkpoint("net", null));

        String op = Ids.operation("/test", "c");
        assertThat(op).matches("op-[0-9a-f]{16}");
        assertThat(commands()).extracting(c -> c.header().id()).containsExactly(op + "/h1/prepare/1");
        assertThat(published(PublicEvent.Accepted.class)).singleElement().satisfies(a -> assertThat(a.checkpoint())
                .matches("cp-[0-9]{8}t[0-9]{6}z-" + op.substring(3, 9))
                .matches(Names::isName));
    }

    @Test
    void givenACrash_whenTheCoordinatorRecovers_outstandingCommandsComeAgainWithTheSameIdsAndContent() {
        running("net", 2, "h1", "h2");
        ask("c", new Request.Checkpoint("net", null));
        answer("h1");
        answer("h2");
        var cuts = commands();
        assertThat(cuts).hasSize(2).allMatch(Command.Cut.class::isInstance);

        state = State.of(2, state.operations(), state.instances(), state.checkpoints());
        now = now.plusSeconds(2);
        give(new Input.Recovered());

        assertThat(commands())
                .extracting(c -> c.header().id() + ((Command.Cut) c).startAtMicros())
                .isEqualTo(cuts.stream()
                        .map(c -> c.header().id() + ((Command.Cut) c).startAtMicros())
                        .toList());
        assertThat(commands()).allMatch(c -> c.header().epoch() == 2);
    }

    @Test
    void givenAnOutcomeThatWasNotAnnounced_whenTheCoordinatorRecovers_itIsPublishedAgain() {
        running("net", 1, "h1");
        state = State.of(2, state.operations(), state.instances(), state.checkpoints());
        give(new Input.Recovered());
        assertThat(published(PublicEvent.DeployCompleted.class)).hasSize(1);

        give(new Input.Announced(Ids.operation("/test", "deploy-net")));
        state = State.of(3, state.operations(), state.instances(), state.checkpoints());
        give(new Input.Recovered());

        assertThat(published(PublicEvent.DeployCompleted.class)).isEmpty();
    }

    // ---- failures

    @Test
    void givenACut_whenOneHostFails_allAreAbortedAndTheFailureNamesTheRootCause() {
        running("net", 2, "h1", "h2");
        ask("c", new Request.Checkpoint("net", null));
        answer("h1");
        answer("h2");
        var cut = commands();

        report(Fixture.failed(cut.get(0), ErrorCode.COOKIE_MISSING));
        assertThat(commands())
                .allMatch(Command.Abort.class::isInstance)
                .extracting(c -> c.header().host())
                .containsExactly("h1", "h2");
        var aborts = commands();
        report(Fixture.failed(cut.get(1), ErrorCode.QEMU_FAILED));
        aborts.forEach(this::answer);

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> {
            assertThat(f.code()).isEqualTo(ErrorCode.QEMU_FAILED);
            assertThat(f.message()).contains("h2");
            assertThat(f.phase()).isEqualTo("cut");
            assertThat(f.hosts()).extracting(PublicEvent.HostFailure::host).containsExactly("h1", "h2");
        });
        assertThat(state.instances().get("net").operation()).isNull();
        assertThat(state.checkpoints()).isEmpty();
    }

    @Test
    void givenASilentHost_whenThePhaseTimeIsOver_theOperationFailsBounded() {
        running("net", 1, "h1");
        ask("c", new Request.Checkpoint("net", null));

        later(Duration.ofSeconds(31), "h1");
        assertThat(commands()).singleElement().isInstanceOf(Command.Abort.class);
        later(Duration.ofSeconds(61), "h1");

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> assertThat(f.code())
                .isEqualTo(ErrorCode.PHASE_TIMEOUT));
        assertThat(state.instances().get("net").operation()).isNull();
    }

    // ---- a bucket that fails

    /** A checkpoint of two hosts up to its archive; the commands. */
    private List<Command> archiving() {
        running("net", 2, "h1", "h2");
        ask("c", new Request.Checkpoint("net", null));
        while (commands().stream().noneMatch(Command.Archive.class::isInstance)) {
            commands().forEach(this::answer);
        }
        return commands();
    }

    /** What is sent to that host until so much time is over. */
    private List<Command> sentTo(String host, Duration by) {
        later(by, "h1", "h2");
        return commands().stream().filter(c -> c.header().host().equals(host)).toList();
    }

    @Test
    void givenAnArchive_whenTheBucketFails_theHostIsAskedAgainEverMoreSeldomAndTheCheckpointCompletes() {
        var archive = archiving();
        answer(archive.get(1));

        report(Fixture.failed(archive.get(0), ErrorCode.REPOSITORY_UNAVAILABLE));

        assertThat(commands()).as("nothing is given up").isEmpty();
        assertThat(published(PublicEvent.Progressed.class)).singleElement().satisfies(p -> {
            assertThat(p.state()).isEqualTo("waiting");
            assertThat(p.phase()).isEqualTo("archive");
            assertThat(p.host()).isEqualTo("h1");
            assertThat(p.again()).isEqualTo(now.plusSeconds(5));
            assertThat(p.why().code()).isEqualTo(ErrorCode.REPOSITORY_UNAVAILABLE);
        });
        assertThat(Views.operation(state.operations().get(Ids.operation("/test", "c")), o -> null)
                        .hosts())
                .extracting(PublicEvent.HostFailure::host)
                .containsExactly("h1");
        for (int attempt = 2; attempt < 8; attempt++) {
            Duration wait = Duration.ofSeconds(Math.min(60, 5L << (attempt - 2)));
            assertThat(sentTo("h1", wait.minusSeconds(1))).isEmpty();
            int number = attempt;
            Command again = assertThat(sentTo("h1", Duration.ofSeconds(1)))
                    .singleElement()
                    .satisfies(c -> assertThat(c.header().attempt()).isEqualTo(number))
                    .actual();
            report(Fixture.failed(archive.get(0), ErrorCode.REPOSITORY_UNAVAILABLE)); // a repeat changes nothing
            report(Fixture.failed(
                    again, attempt % 2 == 0 ? ErrorCode.REPOSITORY_FULL : ErrorCode.REPOSITORY_UNAVAILABLE));
            assertThat(published(PublicEvent.Failed.class)).isEmpty();
        }
        Command last = sentTo("h1", Duration.ofSeconds(60)).getFirst();
        assertThat(sentTo("h2", Duration.ofSeconds(60))).as("it has archived").isEmpty();

        answer(last);
        commands().forEach(this::answer);

        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
        assertThat(state.checkpoints()).hasSize(1);
    }

    @Test
    void givenAnArchiveThatIsTriedAgain_whenItsTimeIsOver_itFailsByTheBucketsCodeAndSaysHowOftenItWasTried() {
        Command archive = archiving().get(0);
        report(Fixture.failed(archive, ErrorCode.REPOSITORY_FULL));

        for (int s = 0; s < 3700 && published(PublicEvent.Failed.class).isEmpty(); s += 5) {
            sentTo("h1", Duration.ofSeconds(5)).forEach(c -> {
                if (c instanceof Command.Archive) {
                    report(Fixture.failed(c, ErrorCode.REPOSITORY_FULL));
                }
            });
            commands().stream().filter(Command.Abort.class::isInstance).forEach(this::answer);
        }

        assertThat(Duration.between(Fixture.T0, now)).isLessThan(Duration.ofSeconds(3615));
        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> {
            assertThat(f.code()).isEqualTo(ErrorCode.REPOSITORY_FULL);
            assertThat(f.phase()).isEqualTo("archive");
            assertThat(f.message()).contains("it went wrong (attempt ");
            assertThat(f.remedy()).contains("holdfast.coordinator.limits.archive");
        });
    }

    @Test
    void givenAnArchiveThatIsTriedAgain_whenTheCoordinatorRecovers_theSameAttemptComesAtItsTimeAndTheReasonIsTold() {
        Command archive = archiving().get(0);
        report(Fixture.failed(archive, ErrorCode.REPOSITORY_UNAVAILABLE));

        state = State.of(2, state.operations(), state.instances(), state.checkpoints());
        hosts("h1", "h2");
        give(new Input.Recovered());

        assertThat(commands()).extracting(c -> c.header().host()).containsExactly("h2");
        assertThat(published(PublicEvent.Progressed.class))
                .filteredOn(p -> p.state().equals("waiting"))
                .hasSize(1);
        assertThat(sentTo("h1", Duration.ofSeconds(5)))
                .singleElement()
                .satisfies(c -> assertThat(c.header().attempt()).isEqualTo(2));
    }

    @Test
    void givenAnArchiveThatIsTriedAgain_whenItFailsForAnotherReason_theRemedyDoesNotSpeakOfTime() {
        var archive = archiving();
        answer(archive.get(1));
        report(Fixture.failed(archive.get(0), ErrorCode.REPOSITORY_UNAVAILABLE));
        Command again = sentTo("h1", Duration.ofSeconds(5)).getFirst();

        report(Fixture.failed(again, ErrorCode.REPOSITORY_CORRUPT));
        commands().stream().filter(Command.Abort.class::isInstance).forEach(this::answer);

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> {
            assertThat(f.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
            assertThat(f.remedy()).doesNotContain("limits.archive");
        });
    }

    @Test
    void givenAnArchive_whenItFailsForAnotherReason_itIsNotTriedAgain() {
        Command archive = archiving().get(0);

        report(Fixture.failed(archive, ErrorCode.WRONG_KEY));

        assertThat(commands()).hasSize(2).allMatch(Command.Abort.class::isInstance);
    }

    @Test
    void givenACommit_whenTheBucketFails_itIsTriedAgainBeyondTheTimeOfOneAttempt() {
        archiving().forEach(this::answer);
        Command commit = commands().getFirst();
        assertThat(commit).isInstanceOf(Command.Commit.class);

        for (int attempt = 1; attempt < 8; attempt++) {
            report(Fixture.failed(commit, ErrorCode.REPOSITORY_UNAVAILABLE));
            commit = sentTo("h1", Duration.ofSeconds(60)).getFirst();
            assertThat(commit).isInstanceOf(Command.Commit.class);
        }
        answer(commit);

        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
    }

    @Test
    void givenACommit_whenItIsNotAnsweredInItsTime_itIsAskedForAgain_andTheFirstAnswerCounts() {
        archiving().forEach(this::answer);
        Command commit = commands().getFirst();

        assertThat(sentTo("h1", Duration.ofSeconds(122))).containsExactly(commit);
        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        assertThat(waiting()).singleElement().satisfies(p -> {
            assertThat(p.phase()).isEqualTo("commit");
            assertThat(p.why().code()).isEqualTo(ErrorCode.PHASE_TIMEOUT);
            assertThat(p.again()).isNotNull();
        });
        assertThat(sentTo("h1", Duration.ofSeconds(6)))
                .singleElement()
                .satisfies(c -> assertThat(c.header().attempt()).isEqualTo(2));
        later(Duration.ofMinutes(10), "h1", "h2");
        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);

        answer(commit);

        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
    }

    @Test
    void givenACommit_whenItIsNotAnsweredUntilTheTimeOfTheArchiveIsOver_itFailsLateAndBounded() {
        archiving().forEach(this::answer);

        later(Duration.ofMinutes(57), "h1", "h2");
        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        for (int i = 0; i < 60 * 10 && commands().stream().noneMatch(Command.Abort.class::isInstance); i++) {
            later(Duration.ofSeconds(1), "h1", "h2");
        }
        assertThat(Duration.between(Fixture.T0, now)).isLessThan(Duration.ofMinutes(63));
        commands().stream().filter(Command.Abort.class::isInstance).forEach(this::answer);

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> {
            assertThat(f.code()).isEqualTo(ErrorCode.PHASE_TIMEOUT);
            assertThat(f.phase()).isEqualTo("commit");
            assertThat(f.message()).contains("(attempt ");
        });
    }

    // ---- a storage service that is silent

    @Test
    void givenAnArchive_whenAStorageServiceIsSilent_itIsWaitedForAndAskedAgainWhenItIsBack_andTheCheckpointCompletes() {
        var archive = archiving();
        answer(archive.get(1));
        noStorage.add("h1");

        later(Duration.ofMinutes(50), "h1", "h2");

        assertThat(commands()).as("nothing is given up").noneMatch(Command.Abort.class::isInstance);
        assertThat(waiting()).singleElement().satisfies(p -> {
            assertThat(p.host()).isEqualTo("h1");
            assertThat(p.again()).isNull();
            assertThat(p.why().code()).isEqualTo(ErrorCode.HOST_UNAVAILABLE);
            assertThat(p.why().message()).contains("storage service").contains("archive");
        });
        assertThat(Views.operation(state.operations().get(Ids.operation("/test", "c")), o -> null)
                        .hosts())
                .extracting(PublicEvent.HostFailure::host)
                .containsExactly("h1");
        assertThat(sentTo("h1", Duration.ofMinutes(1)))
                .as("it would find all of them")
                .isEmpty();
        noStorage.clear();
        var again = sentTo("h1", Duration.ofSeconds(6));
        assertThat(again).as("the same command").containsExactly(archive.get(0));

        answer(again.getFirst());
        commands().forEach(this::answer);

        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
    }

    @Test
    void givenAnArchiveThatWaitsForTheBucket_whenItsStorageServiceIsSilent_theSameAttemptIsMadeWhenItIsBack() {
        Command archive = archiving().get(0);
        report(Fixture.failed(archive, ErrorCode.REPOSITORY_UNAVAILABLE));
        noStorage.add("h1");

        later(Duration.ofMinutes(5), "h1", "h2");
        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        noStorage.clear();

        assertThat(sentTo("h1", Duration.ofSeconds(6)))
                .singleElement()
                .satisfies(c -> assertThat(c.header().attempt()).isEqualTo(2));
    }

    @Test
    void givenAStorageServiceThatFallsSilentTwice_eachTimeIsTold_alsoWhenTheCoordinatorRestartsMeanwhile() {
        archiving();
        noStorage.add("h1");
        later(Duration.ofMinutes(1), "h1", "h2");
        assertThat(waiting()).hasSize(1);

        state = State.of(2, state.operations(), state.instances(), state.checkpoints());
        give(new Input.Recovered());
        later(Duration.ofMinutes(1), "h1", "h2");
        assertThat(waiting()).as("no news").isEmpty();
        noStorage.clear();
        later(Duration.ofSeconds(10), "h1", "h2");
        noStorage.add("h1");
        later(Duration.ofMinutes(1), "h1", "h2");

        assertThat(last.stream()
                        .filter(e -> e instanceof Effect.Publish p
                                && p.event() instanceof PublicEvent.Progressed w
                                && w.state().equals("waiting"))
                        .map(e -> ((Effect.Publish) e).id()))
                .containsExactly(Ids.operation("/test", "c") + "/archive/h1/silent/2");
    }

    @Test
    void givenACommit_whenItsStorageServiceIsSilentLongerThanAnAttemptMayTake_itIsAskedAgainWhenItIsBack() {
        archiving().forEach(this::answer);
        Command commit = commands().getFirst();
        noStorage.add("h1");

        later(Duration.ofMinutes(30), "h1", "h2");
        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        noStorage.clear();
        assertThat(sentTo("h1", Duration.ofSeconds(6))).containsExactly(commit);
        answer(commit);

        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
    }

    private void timeOfTheArchiveEnds() {
        later(Duration.ofMinutes(59), "h1", "h2");
        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        later(Duration.ofSeconds(70), "h1", "h2");
        commands().stream().filter(Command.Abort.class::isInstance).forEach(this::answer);
    }

    @Test
    void givenAStorageServiceThatStaysSilent_whenTheTimeOfTheArchiveIsOver_theCheckpointFailsAndSaysSo() {
        var archive = archiving();
        answer(archive.get(1));
        noStorage.add("h1");

        timeOfTheArchiveEnds();

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> {
            assertThat(f.code()).isEqualTo(ErrorCode.HOST_UNAVAILABLE);
            assertThat(f.phase()).isEqualTo("archive");
            assertThat(f.message()).contains("h1").contains("storage service");
            assertThat(f.remedy()).contains("holdfast.coordinator.limits.archive");
        });
    }

    @Test
    void givenArchivesOfTwoHostsThatDoNotEnd_whenTheirTimeIsOver_theCheckpointFails() {
        archiving();

        timeOfTheArchiveEnds();

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> assertThat(f.phase())
                .isEqualTo("archive"));
    }

    @Test
    void givenTwoStorageServicesThatStaySilent_whenTheTimeOfTheArchiveIsOver_theCheckpointFails() {
        archiving();
        noStorage.addAll(List.of("h1", "h2"));

        timeOfTheArchiveEnds();

        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> assertThat(f.phase())
                .isEqualTo("archive"));
    }

    @Test
    void givenAStorageServiceThatIsBackAndFindsTheCommandTooOld_itGetsAnotherOne() {
        Command archive = archiving().get(0);
        noStorage.add("h1");
        later(Duration.ofMinutes(5), "h1", "h2");
        noStorage.clear();

        report(Fixture.failed(archive, ErrorCode.TOO_LATE));

        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        assertThat(sentTo("h1", Duration.ofSeconds(6)))
                .singleElement()
                .satisfies(c -> assertThat(c.header().attempt()).isEqualTo(2));
    }

    @Test
    void givenAnArchive_whenAHostAgentIsSilent_itGoesOn() {
        var archive = archiving();
        noAgent.add("h1");

        later(Duration.ofMinutes(5), "h1", "h2");

        assertThat(commands()).noneMatch(Command.Abort.class::isInstance);
        assertThat(waiting()).isEmpty();
        archive.forEach(this::answer);
        commands().stream().filter(Command.Commit.class::isInstance).forEach(this::answer);
        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
    }

    @Test
    void givenADeploy_whenAHostFails_theOthersAreDestroyedAndTheNameIsFree() {
        hosts("h1", "h2");
        ask("d", deploy("net", 2, Map.of()));
        var deploys = commands();
        answer(deploys.get(1));

        report(Fixture.failed(deploys.get(0), ErrorCode.FILE_UNAVAILABLE));
        assertThat(commands()).hasSize(2).allMatch(Command.Destroy.class::isInstance);
        commands().forEach(this::answer);

        assertThat(state.instances()).isEmpty();
        assertThat(published(PublicEvent.Failed.class)).singleElement().satisfies(f -> assertThat(f.code())
                .isEqualTo(ErrorCode.FILE_UNAVAILABLE));
    }

    @Test
    void givenAPreparedCheckpoint_whenAVmDies_theCheckpointFailsAndTheExitIsTold() {
        running("net", 1, "h1");
        now = now.plusSeconds(1);
        ask("c", new Request.Checkpoint("net", null));

        now = now.plusMillis(10);
        beat("h1", new Heartbeat.InstanceState("net", List.of(Fixture.vm("a", "dead"))));

        assertThat(published(PublicEvent.VmExited.class)).hasSize(1);
        assertThat(commands()).singleElement().isInstanceOf(Command.Abort.class);
    }

    @Test
    void givenAHostThatLosesItsHeart_whenAnOperationWaitsForIt_itIsGivenUpBeforeTheDeadline() {
        hosts("h1");
        give(new Input.Recovered());
        ask("d", deploy("net", 1, Map.of()));

        now = now.plusSeconds(31);
        give(new Input.Tick());

        assertThat(commands()).singleElement().isInstanceOf(Command.Destroy.class);
        assertThat(state.operations().get(Ids.operation("/test", "d")).state())
                .isInstanceOfSatisfying(
                        OperationState.Undoing.class,
                        u -> assertThat(u.cause().code()).isEqualTo(ErrorCode.HOST_UNAVAILABLE));
    }

    @Test
    void givenADeciderThatStoodStill_whenItGoesOn_nobodyIsLostOrLateBeforeWhatLiesUnreadIsRead() {
        hosts("h1");
        give(new Input.Recovered());
        ask("d", deploy("net", 1, Map.of()));

        now = now.plusSeconds(300);
        give(new Input.Stalled());
        give(new Input.Tick());

        assertThat(commands()).as("given up").noneMatch(Command.Destroy.class::isInstance);
        now = now.plusSeconds(9);
        give(new Input.Tick());
        assertThat(commands()).as("given up").noneMatch(Command.Destroy.class::isInstance);
        now = now.plusSeconds(2);
        give(new Input.Tick());
        assertThat(commands()).singleElement().isInstanceOf(Command.Destroy.class);
    }

    @Test
    void givenADeciderThatStoodStill_whenAHostStaysSilent_itIsGivenUpAsLateAsAfterAStart() {
        hosts("h1");
        give(new Input.Recovered());
        ask("d", deploy("net", 1, Map.of()));
        now = now.plusSeconds(40);
        give(new Input.Stalled());

        now = now.plusSeconds(30);
        give(new Input.Tick());
        assertThat(commands()).as("given up").noneMatch(Command.Destroy.class::isInstance);
        now = now.plusSeconds(1);
        give(new Input.Tick());

        assertThat(commands()).singleElement().isInstanceOf(Command.Destroy.class);
    }

    @Test
    void givenARunningInstance_whenAHeartbeatFromBeforeItRanComes_noVmCountsAsEnded() {
        running("net", 1, "h1");

        give(new Input.Beat(Fixture.agent("h1", Fixture.GIB, List.of()), now.plusSeconds(1)));

        assertThat(published(PublicEvent.VmExited.class)).isEmpty();
    }

    @Test
    void givenARunningInstance_whenItsHostNoLongerNamesTheVm_theVmHasEnded() {
        running("net", 1, "h1");
        now = now.plusSeconds(6);

        beat("h1");

        assertThat(published(PublicEvent.VmExited.class)).hasSize(1);
        assertThat(Views.instance(state, state.instances().get("net"), now, Duration.ofSeconds(5))
                        .state())
                .isEqualTo("lost");
    }

    // ---- restore

    @Test
    void givenARunningInstance_whenItsCheckpointIsRestoredWithReplace_theOldOneIsClearedFirst() {
        running("net", 1, "h1");
        String checkpoint = checkpointed("net");
        int oldVni = state.instances().get("net").layout().vnis().get("lan");
        beat("h2");

        ask("r0", new Request.Restore(checkpoint, null, null, null));
        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.INSTANCE_EXISTS);
        ask("r", new Request.Restore(checkpoint, null, Map.of("a", "h2"), true));

        assertThat(commands()).singleElement().satisfies(c -> {
            assertThat(c).isInstanceOf(Command.Destroy.class);
            assertThat(c.header().host()).isEqualTo("h1");
        });
        answer("h1");
        assertThat(commands()).singleElement().isInstanceOf(Command.Pull.class);
        answer("h2");
        answer("h2");
        assertThat(commands()).singleElement().isInstanceOf(Command.Resume.class);
        answer("h2");

        assertThat(published(PublicEvent.RestoreCompleted.class))
                .singleElement()
                .satisfies(r -> {
                    assertThat(r.placement()).containsExactly(Map.entry("a", "h2"));
                    assertThat(r.phases()).containsKeys("clear", "pull", "load", "resume");
                });
        assertThat(state.instances().get("net").layout().vnis().get("lan")).isNotEqualTo(oldVni);
    }

    @Test
    void givenFinishedOperations_whenMoreFinishThanAreKept_theOldestAreForgotten() {
        Decider few = Fixture.forgetful();
        running("net", 1, "h1");
        give(new Input.Announced(Ids.operation("/test", "deploy-net")));
        checkpointed("net");

        var decision = few.decide(state, new Input.Announced(Ids.operation("/test", "cp")), now);

        assertThat(decision.journal()).contains(new Effect.Forget("operation/" + Ids.operation("/test", "deploy-net")));
    }

    // ---- helpers

    private void hosts(String... names) {
        for (String h : names) {
            beat(h);
        }
    }

    private void beat(String host, Heartbeat.InstanceState... instances) {
        give(new Input.Beat(Fixture.storage(host), now));
        give(new Input.Beat(Fixture.agent(host, 4 * Fixture.GIB, List.of(instances)), now));
    }

    private void later(Duration by, String... hosts) {
        Instant end = now.plus(by);
        var effects = new ArrayList<Effect>();
        while (now.isBefore(end)) {
            now = now.plusSeconds(1);
            for (String h : hosts) {
                if (!noStorage.contains(h)) {
                    give(new Input.Beat(Fixture.storage(h), now));
                }
                if (noAgent.contains(h)) {
                    continue;
                }
                give(new Input.Beat(
                        Fixture.agent(
                                h,
                                Fixture.GIB,
                                state.instances().values().stream()
                                        .map(i -> new Heartbeat.InstanceState(
                                                i.name(),
                                                i.layout().part(h).vms().stream()
                                                        .map(v -> Fixture.vm(v, "running"))
                                                        .toList()))
                                        .toList()),
                        now));
            }
            give(new Input.Tick());
            last.stream()
                    .filter(e -> !(e instanceof Effect.Send s
                            && effects.stream()
                                    .anyMatch(o -> o instanceof Effect.Send t
                                            && t.command().equals(s.command()))))
                    .forEach(effects::add);
        }
        last = effects.stream()
                .filter(e -> !(e instanceof Effect.Send s && s.command() instanceof Command.Prepare))
                .toList();
    }

    private void running(String name, int vms, String... hosts) {
        hosts(hosts);
        ask("deploy-" + name, deploy(name, vms, Map.of()));
        commands().forEach(this::answer);
        assertThat(state.instances().get(name).runningSince()).isNotNull();
        last = List.of();
    }

    private String checkpointed(String name) {
        ask("cp", new Request.Checkpoint(name, null));
        while (!commands().isEmpty()) {
            commands().forEach(this::answer);
        }
        assertThat(published(PublicEvent.CheckpointCompleted.class)).hasSize(1);
        return state.checkpoints().firstKey();
    }

    private static Request.Deploy deploy(String name, int vms, Map<String, String> placement) {
        return new Request.Deploy(Fixture.spec(name, vms, placement), null);
    }

    private void ask(String id, Request request) {
        give(Fixture.request(id, request));
    }

    private void answer(String host) {
        commands().stream()
                .filter(c -> c.header().host().equals(host))
                .findFirst()
                .ifPresent(this::answer);
    }

    private void answer(Command c) {
        var layout = state.operations().get(c.header().operation()).layout();
        var vms = layout.hosts().stream()
                .filter(p -> p.host().equals(c.header().host()))
                .flatMap(p -> p.vms().stream())
                .toList();
        Fixture.answers(c, vms).forEach(this::report);
    }

    private void report(Report r) {
        give(new Input.Reported(r));
    }

    /** Takes an input; commands without an answer stay in {@link #last}. */
    private void give(Input input) {
        Decision d = decider.decide(state, input, now);
        state = d.state();
        if (input instanceof Input.Reported r) {
            var keep = new ArrayList<Effect>();
            for (Effect e : last) {
                if (e instanceof Effect.Send s
                        && !s.command()
                                .header()
                                .host()
                                .equals(r.report().header().host())
                        && d.effects().stream().noneMatch(Effect.Send.class::isInstance)) {
                    keep.add(e);
                }
            }
            keep.addAll(d.effects());
            last = keep;
        } else {
            last = d.effects();
        }
    }

    private List<Command> commands() {
        return last.stream()
                .filter(Effect.Send.class::isInstance)
                .map(e -> ((Effect.Send) e).command())
                .toList();
    }

    private List<Effect.Journal> journal() {
        return last.stream()
                .filter(Effect.Journal.class::isInstance)
                .map(Effect.Journal.class::cast)
                .toList();
    }

    private List<PublicEvent.Progressed> waiting() {
        return published(PublicEvent.Progressed.class).stream()
                .filter(p -> p.state().equals("waiting"))
                .toList();
    }

    private <T extends PublicEvent> List<T> published(Class<T> type) {
        return last.stream()
                .filter(Effect.Publish.class::isInstance)
                .map(e -> ((Effect.Publish) e).event())
                .filter(type::isInstance)
                .map(type::cast)
                .toList();
    }

    private List<Problem> rejected() {
        return published(PublicEvent.Rejected.class).stream()
                .flatMap(r -> r.problems().stream())
                .toList();
    }
}
