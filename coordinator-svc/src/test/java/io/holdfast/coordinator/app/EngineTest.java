package io.holdfast.coordinator.app;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.holdfast.coordinator.domain.Decider;
import io.holdfast.coordinator.domain.Decision;
import io.holdfast.coordinator.domain.Effect;
import io.holdfast.coordinator.domain.Fixture;
import io.holdfast.coordinator.domain.Input;
import io.holdfast.coordinator.domain.OperationState;
import io.holdfast.coordinator.domain.Settings;
import io.holdfast.coordinator.domain.State;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class EngineTest {
    private final FakeOutbox outbox = new FakeOutbox();
    private final AtomicInteger retries = new AtomicInteger();
    private final AtomicInteger defects = new AtomicInteger();
    private final AtomicInteger ticks = new AtomicInteger();
    /** How much the engine's clock is ahead of the machine's. */
    private volatile Duration ahead = Duration.ZERO;

    private final Engine engine = new Engine(
            new Decider(Settings.defaults()),
            outbox,
            new Engine.Listener() {
                @Override
                public void retried(Throwable cause) {
                    retries.incrementAndGet();
                }

                @Override
                public void decided(Input input, Decision decision) {
                    if (input instanceof Input.Tick) {
                        ticks.incrementAndGet();
                    }
                }

                @Override
                public void defect(Input input, RuntimeException e) {
                    defects.incrementAndGet();
                }
            },
            new Clock() {
                @Override
                public Instant instant() {
                    return Instant.now().plus(ahead);
                }

                @Override
                public ZoneId getZone() {
                    return ZoneOffset.UTC;
                }

                @Override
                public Clock withZone(ZoneId zone) {
                    return this;
                }
            },
            Duration.ofMillis(50),
            Duration.ofMillis(1));

    @AfterEach
    void stop() {
        engine.close();
    }

    @Test
    void givenAnEngineThatDoesNotRunYet_whenAnInputComes_itWaitsForTheReplay() throws Exception {
        CompletableFuture<Void> early = engine.offer(refused("1"));
        assertThat(early).isNotDone();

        engine.start(State.empty());

        early.get(10, TimeUnit.SECONDS);
        assertThat(outbox.events).hasSize(1);
    }

    @Test
    void givenABrokerThatFailsForAWhile_whenARequestComes_itIsJournalledInTheEndAndTheLoopGoesOn() throws Exception {
        engine.start(State.empty());
        beat();
        outbox.failures.set(3);

        engine.offer(deploy("net")).get(10, TimeUnit.SECONDS);

        assertThat(retries).hasValueGreaterThanOrEqualTo(2);
        assertThat(outbox.journal).extracting(Effect.Journal::key).contains("instance/net");
        assertThat(outbox.commands).hasSize(1);
        engine.offer(refused("2")).get(10, TimeUnit.SECONDS);
        assertThat(outbox.events).anyMatch(PublicEvent.Rejected.class::isInstance);
    }

    @Test
    void givenABrokerThatThrows_whenARequestComes_theLoopGoesOn() throws Exception {
        engine.start(State.empty());
        outbox.exceptions.set(2);

        engine.offer(refused("1")).get(10, TimeUnit.SECONDS);

        assertThat(retries).hasValueGreaterThanOrEqualTo(2);
    }

    @Test
    void givenAnInputThatTheDecisionsCannotTake_whenItComes_itIsPassedOverAndTheLoopGoesOn() throws Exception {
        engine.start(State.empty());

        engine.offer(new Input.Requested("1", "/t", null, "00", Map.of())).get(10, TimeUnit.SECONDS);
        engine.offer(refused("2")).get(10, TimeUnit.SECONDS);

        assertThat(defects).hasValue(1);
        assertThat(outbox.events).hasSize(1);
    }

    @Test
    void givenAJournalThatDoesNotAnswer_whenARequestComes_nothingIsDoneBeforeItDoes() throws Exception {
        engine.start(State.empty());
        beat();
        outbox.hold = new CompletableFuture<>();

        CompletableFuture<Void> done = engine.offer(deploy("net"));
        await().until(() -> !outbox.journal.isEmpty());

        assertThat(outbox.commands).isEmpty();
        assertThat(outbox.events).isEmpty();
        assertThat(engine.state().instances()).isEmpty();
        assertThat(done).isNotDone();
        outbox.hold.complete(null);
        done.get(10, TimeUnit.SECONDS);
        assertThat(outbox.commands).hasSize(1);
    }

    @Test
    void givenABrokerThatIsDownLongerThanAHostMayBeSilent_whenItIsBack_noHostCountsAsLost() throws Exception {
        engine.start(State.empty());
        beat();
        engine.offer(deploy("net")).get(10, TimeUnit.SECONDS);
        outbox.hold = new CompletableFuture<>();
        CompletableFuture<Void> blocked = engine.offer(deploy("other"));
        await().until(() -> outbox.journal.stream().anyMatch(j -> j.key().equals("instance/other")));

        ahead = Duration.ofSeconds(40);
        outbox.hold.complete(null);
        blocked.get(10, TimeUnit.SECONDS);
        int before = ticks.get();
        await().until(() -> ticks.get() > before + 3);

        assertThat(engine.state().operations().values())
                .hasSize(2)
                .allMatch(op -> op.state() instanceof OperationState.Deploying);
    }

    @Test
    void givenAnEngineThatStandsStill_whenItsClockGoesOnWithoutIt_noHostCountsAsLost() throws Exception {
        engine.start(State.empty());
        beat();
        engine.offer(deploy("net")).get(10, TimeUnit.SECONDS);

        ahead = Duration.ofSeconds(40); // as when the process was stopped
        int before = ticks.get();
        await().until(() -> ticks.get() > before + 3);

        assertThat(engine.state().operations().values())
                .singleElement()
                .matches(op -> op.state() instanceof OperationState.Deploying);
    }

    @Test
    void givenAWaitingInput_whenTheEngineStops_theInputIsNotAcknowledged() {
        CompletableFuture<Void> waiting = engine.offer(refused("1"));

        engine.close();

        assertThat(waiting).isCancelled();
    }

    private void beat() throws Exception {
        engine.offer(new Input.Beat(Fixture.agent("h1", Fixture.GIB, List.of()), Instant.now()))
                .get(10, TimeUnit.SECONDS);
        engine.offer(new Input.Beat(Fixture.storage("h1"), Instant.now())).get(10, TimeUnit.SECONDS);
    }

    private static Input deploy(String name) {
        return Fixture.request("deploy-" + name, new Request.Deploy(Fixture.spec(name, 1, Map.of()), null));
    }

    private static Input refused(String id) {
        return new Input.Refused(
                id, "/t", null, null, List.of(new Problem(ErrorCode.INVALID_EVENT, "", "bad", "mend")), Map.of());
    }

    private static final class FakeOutbox implements Engine.Outbox {
        final List<Effect.Journal> journal = new CopyOnWriteArrayList<>();
        final List<Effect> commands = new CopyOnWriteArrayList<>();
        final List<PublicEvent> events = new CopyOnWriteArrayList<>();
        final AtomicInteger failures = new AtomicInteger();
        final AtomicInteger exceptions = new AtomicInteger();
        volatile CompletableFuture<Void> hold = CompletableFuture.completedFuture(null);

        @Override
        public CompletableFuture<Void> journal(Effect.Journal record) {
            if (failures.getAndUpdate(n -> Math.max(0, n - 1)) > 0) {
                return CompletableFuture.failedFuture(new IllegalStateException("no broker"));
            }
            journal.add(record);
            return hold;
        }

        @Override
        public CompletableFuture<Void> carryOut(Effect effect, Instant now) {
            if (exceptions.getAndUpdate(n -> Math.max(0, n - 1)) > 0) {
                throw new IllegalStateException("buffer full");
            }
            switch (effect) {
                case Effect.Send s -> commands.add(s);
                case Effect.Publish p -> events.add(p.event());
                default -> {}
            }
            return CompletableFuture.completedFuture(null);
        }
    }
}
