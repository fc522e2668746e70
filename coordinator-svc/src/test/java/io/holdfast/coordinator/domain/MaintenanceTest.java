package io.holdfast.coordinator.domain;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.coordinator.domain.OperationState.Completed;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.view.CheckpointView;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Decisions about work on the repository. */
class MaintenanceTest {
    private final Decider decider = new Decider(Settings.defaults());
    private State state = State.of(1, null, null, null);
    private Instant now = Fixture.T0;
    private List<Effect> last = List.of();

    private void give(Input input) {
        Decision d = decider.decide(state, input, now);
        state = d.state();
        last = d.effects();
    }

    private void ask(String id, Request r) {
        give(Fixture.request(id, r));
    }

    private void storage(String host, boolean reachable) {
        give(new Input.Beat(new Heartbeat.Storage(host, "1", "b", reachable), now));
    }

    private void catalog(String id) {
        var layout = new InstanceLayout("net", Fixture.spec("net", 1, Map.of()), List.of(), Map.of());
        var m = new CheckpointManifest(
                1, id, "net", null, now, layout, List.of(), List.of(), new CutFigures(List.of()));
        give(new Input.Cataloged(new CheckpointView(id, "net", null, now, null, "k", "s", m, false)));
    }

    private List<Command> commands() {
        return last.stream()
                .filter(Effect.Send.class::isInstance)
                .map(e -> ((Effect.Send) e).command())
                .toList();
    }

    private List<Problem> rejected() {
        return last.stream()
                .filter(e -> e instanceof Effect.Publish p && p.event() instanceof PublicEvent.Rejected)
                .flatMap(e -> ((PublicEvent.Rejected) ((Effect.Publish) e).event()).problems().stream())
                .toList();
    }

    private List<String> uncataloged() {
        return last.stream()
                .filter(Effect.Uncatalog.class::isInstance)
                .map(e -> ((Effect.Uncatalog) e).checkpoint())
                .toList();
    }

    private Operation op(String id) {
        return state.operations().get(Ids.operation("/test", id));
    }

    private void answer() {
        give(new Input.Reported(
                Fixture.answers(commands().getFirst(), List.of()).getLast()));
    }

    @Test
    void givenTwoServices_whenAVerifyIsAsked_oneThatReachesTheBucketIsTold_andItsAnswerEndsIt() {
        storage("h1", false);
        storage("h2", true);

        ask("v", new Request.Verify(null, 10));

        assertThat(commands()).singleElement().satisfies(c -> {
            assertThat(c).isInstanceOf(Command.Verify.class);
            assertThat(c.header().host()).isEqualTo("h2");
            assertThat(c.header().instance()).isNull();
            assertThat(((Command.Verify) c).samplePercent()).isEqualTo(10);
        });
        answer();
        assertThat(op("v").state()).isInstanceOfSatisfying(Completed.class, c -> assertThat(c.outcome())
                .isInstanceOf(PublicEvent.VerifyCompleted.class));
    }

    @Test
    void givenWorkOnOneService_whenMoreIsAsked_theOtherIsTold() {
        storage("h1", true);
        storage("h2", true);
        ask("v1", new Request.Verify(null, 10));

        ask("v2", new Request.Stats(null));

        assertThat(commands()).extracting(c -> c.header().host()).containsExactly("h2");
    }

    @Test
    void givenNoServiceThatReachesTheBucket_whenAnythingIsAsked_itIsRejected() {
        storage("h1", false);

        ask("p", new Request.Prune(false));

        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.HOST_UNAVAILABLE);
    }

    @Test
    void givenAPruneAtWork_whenAForgetIsAsked_itIsRejectedBusy_butAVerifyIsNot() {
        storage("h1", true);
        catalog("cp-1");
        ask("p", new Request.Prune(false));

        ask("f", new Request.Forget(List.of("cp-1"), null, null, null));
        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.REPOSITORY_BUSY);

        ask("v", new Request.Verify(null, null));
        assertThat(rejected()).isEmpty();
        ask("h", new Request.Hold("cp-1", null, null));
        assertThat(rejected()).isEmpty();
    }

    @Test
    void aForgetMustSayWhat_andEveryMistakeIsNamed() {
        storage("h1", true);
        catalog("cp-1");

        ask("a", new Request.Forget(null, null, null, null));
        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.INVALID_EVENT);
        ask("b", new Request.Forget(List.of("cp-1"), null, new KeepPolicy(1, null, null, null, null), null));
        assertThat(rejected()).extracting(Problem::code).containsExactly(ErrorCode.INVALID_EVENT);
        ask("c", new Request.Forget(null, null, new KeepPolicy(null, null, null, null, null), null));
        assertThat(rejected()).extracting(Problem::field).containsExactly("/keep");
        ask("d", new Request.Forget(List.of("../x", "cp-1", "CP"), null, null, null));
        assertThat(rejected()).extracting(Problem::code).containsOnly(ErrorCode.INVALID_EVENT);
        assertThat(rejected()).extracting(Problem::field).containsExactly("/checkpoints/0", "/checkpoints/2");
    }

    @Test
    void aForgetByNameNeedsNoCatalog_soThatACheckpointOfWhichARebuildCouldNotReadTheManifestCanBeForgotten() {
        storage("h1", true);
        catalog("cp-broken");
        ask("r", new Request.Rebuild(null));
        Command.Header h = commands().getFirst().header();
        give(new Input.Reported(new Report.Rebuilt(
                Report.Header.of(h, "rebuild", "done"),
                new Maintenance.RebuildResult(false, 1, 1, 1, 0, List.of(), List.of(), 0, null))));
        assertThat(state.checkpoints()).isEmpty();

        ask("f", new Request.Forget(List.of("cp-broken"), null, null, null));

        assertThat(rejected()).isEmpty();
        assertThat(commands()).singleElement().isInstanceOfSatisfying(Command.Forget.class, c -> assertThat(
                        c.checkpoints())
                .containsExactly("cp-broken"));
        answer();
        assertThat(op("f").state()).isInstanceOf(Completed.class);
    }

    @Test
    void aForgetOfNamedCheckpointsTakesNoInstance_andAHoldNoTimeThatIsOver() {
        storage("h1", true);
        catalog("cp-1");

        ask("f", new Request.Forget(List.of("cp-1"), "net", null, null));
        assertThat(rejected()).extracting(Problem::field).containsExactly("/instance");

        ask("h", new Request.Hold("cp-1", null, java.time.Instant.EPOCH));
        assertThat(rejected()).singleElement().satisfies(p -> {
            assertThat(p.field()).isEqualTo("/until");
            assertThat(p.remedy()).contains("a time to come");
        });
        assertThat(commands()).isEmpty();
    }

    @Test
    void whatWasForgottenLeavesTheCatalog_alsoWhenTheAnswerComesTwice_andAfterACrash() {
        storage("h1", true);
        catalog("cp-1");
        catalog("cp-2");
        ask("f", new Request.Forget(List.of("cp-1"), null, null, null));
        Command command = commands().getFirst();

        answer();

        assertThat(uncataloged()).containsExactly("cp-1");
        assertThat(state.checkpoints().keySet()).containsExactly("cp-2");
        give(new Input.Reported(Fixture.answers(command, List.of()).getLast()));
        assertThat(uncataloged()).containsExactly("cp-1");
        give(new Input.Recovered());
        assertThat(uncataloged()).containsExactly("cp-1");
    }

    @Test
    void aDryRunChangesNoCatalog() {
        storage("h1", true);
        catalog("cp-1");
        ask("f", new Request.Forget(List.of("cp-1"), null, null, true));

        answer();

        assertThat(uncataloged()).isEmpty();
        assertThat(state.checkpoints()).containsKey("cp-1");
    }

    @Test
    void aHoldAndAReleaseShowInTheCatalog() {
        storage("h1", true);
        catalog("cp-1");

        ask("h", new Request.Hold("cp-1", "why", null));
        answer();
        assertThat(state.checkpoints().get("cp-1").held()).isTrue();
        assertThat(last)
                .anyMatch(e -> e instanceof Effect.Catalog c && c.checkpoint().held());

        ask("r", new Request.Release("cp-1"));
        answer();
        assertThat(state.checkpoints().get("cp-1").held()).isFalse();
    }

    @Test
    void aRebuildBringsWhatTheBucketHas_andDropsWhatItHasNot() {
        storage("h1", true);
        catalog("cp-old");
        ask("r", new Request.Rebuild(null));
        Command.Header h = commands().getFirst().header();
        var m = state.checkpoints().get("cp-old").manifest();
        var found = new CheckpointManifest(
                1, "cp-new", "net", null, now, m.layout(), List.of(), List.of(), new CutFigures(List.of()));

        give(new Input.Reported(new Report.Found(
                new Report.Header(h.operation(), null, "h1", "rebuild", 1, 1, "found", 1),
                "checkpoints/cp-new.json",
                "a".repeat(64),
                true,
                found)));
        assertThat(state.checkpoints().get("cp-new").held()).isTrue();
        give(new Input.Reported(new Report.Rebuilt(
                Report.Header.of(h, "rebuild", "done"),
                new Maintenance.RebuildResult(false, 1, 1, 1, 0, List.of("cp-new"), List.of(), 0, null))));

        assertThat(uncataloged()).containsExactly("cp-old");
        assertThat(state.checkpoints().keySet()).containsExactly("cp-new");
        assertThat(op("r").state()).isInstanceOf(Completed.class);
    }

    @Test
    void aCommandOnTheRepositorySaysHowLongItsAnswerIsWaitedFor() {
        storage("h1", true);
        ask("r", new Request.Rebuild(null));

        assertThat(commands().getFirst().header().answerBy())
                .isEqualTo(now.plus(Settings.defaults().limit(Phases.REBUILD)));
    }

    @Test
    void ofARebuildThatDoesNotNameAllThereAre_nothingIsDroppedThatMayBeAmongTheOthers() {
        storage("h1", true);
        for (String cp : List.of("cp-1", "cp-2", "cp-3", "cp-4")) {
            catalog(cp);
        }
        ask("r", new Request.Rebuild(null));
        Command.Header h = commands().getFirst().header();

        give(new Input.Reported(new Report.Rebuilt(
                Report.Header.of(h, "rebuild", "done"),
                new Maintenance.RebuildResult(false, 1, 1, 1, 0, List.of("cp-1", "cp-3"), List.of(), 0, 3))));

        assertThat(uncataloged()).containsExactly("cp-2");
        assertThat(op("r").state()).isInstanceOf(Completed.class);
    }

    @Test
    void aRebuildThatDidNotTellOfAllFails_andDropsNothing() {
        storage("h1", true);
        catalog("cp-old");
        ask("r", new Request.Rebuild(null));
        Command.Header h = commands().getFirst().header();

        give(new Input.Reported(new Report.Rebuilt(
                Report.Header.of(h, "rebuild", "done"),
                new Maintenance.RebuildResult(false, 1, 1, 1, 0, List.of("cp-new"), List.of(), 0, null))));

        assertThat(op("r").state()).isInstanceOfSatisfying(OperationState.Failed.class, f -> assertThat(
                        f.failure().code())
                .isEqualTo(ErrorCode.INTERRUPTED));
        assertThat(state.checkpoints()).containsKey("cp-old");
    }

    @Test
    void aServiceThatFallsSilentFailsItsWork_andTheNextMayBeAsked() {
        storage("h1", true);
        give(new Input.Tick());
        ask("p", new Request.Prune(false));
        now = now.plusSeconds(31);
        storage("h2", true);

        give(new Input.Tick());

        assertThat(op("p").state()).isInstanceOfSatisfying(OperationState.Failed.class, f -> assertThat(
                        f.failure().code())
                .isEqualTo(ErrorCode.HOST_UNAVAILABLE));
        ask("p2", new Request.Prune(false));
        assertThat(commands()).extracting(c -> c.header().host()).containsExactly("h2");
    }

    @Test
    void afterACrashTheSameCommandIsSentAgain() {
        storage("h1", true);
        ask("p", new Request.Prune(true));
        Command before = commands().getFirst();

        give(new Input.Recovered());

        assertThat(commands()).containsExactly(before);
    }

    @Test
    void theLastScheduledRunOfEachKindIsNotForgottenAmongOthers_soThatItIsNotDoneAgainAfterARestart() {
        Decider few = Fixture.forgetful();
        storage("h1", true);
        for (String run : List.of("prune/1", "prune/2")) {
            give(new Input.Requested(
                    run, Ids.SCHEDULE, new Request.Prune(false), "00112233445566778899aabbccddeeff", Map.of()));
            answer();
            now = now.plusSeconds(1);
            state = few.decide(state, new Input.Announced(Ids.operation(Ids.SCHEDULE, run)), now)
                    .state();
        }

        for (int i = 0; i < 3; i++) {
            ask("v" + i, new Request.Verify(null, 10));
            answer();
            now = now.plusSeconds(1);
            state = few.decide(state, new Input.Announced(Ids.operation("/test", "v" + i)), now)
                    .state();
        }

        assertThat(state.operations())
                .containsOnlyKeys(Ids.operation(Ids.SCHEDULE, "prune/2"), Ids.operation("/test", "v2"));
    }
}
