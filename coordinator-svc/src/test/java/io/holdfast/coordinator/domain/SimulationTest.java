package io.holdfast.coordinator.domain;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Drives the decisions through many simulated worlds; and proves that the simulation would notice a mistake. */
class SimulationTest {
    private static final int SEEDS = Integer.getInteger("holdfast.sim.seeds", 300);
    private static final long FIRST = Long.getLong("holdfast.sim.first", 1);

    private static final Settings SETTINGS = quick();

    private static Settings quick() {
        Settings d = Settings.defaults();
        return new Settings(
                Duration.ofSeconds(2), // simulated hosts are slow
                d.cutLimit(),
                Duration.ofMinutes(10),
                Duration.ofMinutes(10),
                Duration.ofMinutes(10),
                Duration.ofSeconds(5),
                Duration.ofSeconds(1),
                Duration.ofSeconds(4),
                50,
                10,
                60,
                Duration.ofSeconds(60),
                Map.of());
    }

    @Test
    void givenACalmWorld_everyOperationCompletes() {
        Decider decider = new Decider(SETTINGS);
        var world = new World(7, decider::decide, World.Trouble.NONE, 3);

        world.ask(Fixture.request("d", new Request.Deploy(Fixture.spec("net", 4, Map.of()), null)));
        world.run(20_000);
        world.ask(Fixture.request("c", new Request.Checkpoint("net", "label")));
        world.run(20_000);
        String checkpoint = world.catalog().keySet().iterator().next();
        world.ask(Fixture.request("r1", new Request.Restore(checkpoint, "copy", Map.of("a", "h3"), null)));
        world.run(20_000);
        world.ask(Fixture.request("r2", new Request.Restore(checkpoint, null, null, true)));
        world.run(20_000);
        world.ask(Fixture.request("x", new Request.Destroy("copy", null)));
        world.run(20_000);

        assertThat(world.outcomes().values().stream().map(Object::getClass).map(Class::getSimpleName))
                .containsExactlyInAnyOrder(
                        "DeployCompleted",
                        "CheckpointCompleted",
                        "RestoreCompleted",
                        "RestoreCompleted",
                        "DestroyCompleted");
        assertThat(world.state().instances().keySet()).containsExactly("net");
        world.checkEnd();
    }

    @Test
    void givenTrouble_noPromiseIsBroken() {
        Decider decider = new Decider(SETTINGS);
        int crashes = 0;
        int completed = 0;
        int failed = 0;
        for (long seed = FIRST; seed < FIRST + SEEDS; seed++) {
            World w = live(seed, decider::decide);
            crashes += w.crashes();
            for (PublicEvent e : w.outcomes().values()) {
                if (e instanceof PublicEvent.Failed) {
                    failed++;
                } else {
                    completed++;
                }
            }
        }
        // the simulation is worth something only if much happens in it
        assertThat(crashes).isGreaterThan(SEEDS / 2);
        assertThat(completed).isGreaterThan(SEEDS);
        assertThat(failed).isGreaterThan(SEEDS / 2);
    }

    /** One life: requests of all kinds with trouble, then calm until all is over. */
    private static World live(long seed, World.Brain brain) {
        try {
            var random = new Random(seed);
            var world = new World(seed, brain, World.Trouble.SOME, 3);
            var names = List.of("net", "copy");
            for (int i = 0; i < 12; i++) {
                String name = names.get(random.nextInt(2));
                String id = "r" + i;
                var checkpoint = List.copyOf(world.catalog().keySet());
                switch (random.nextInt(11)) {
                    case 0, 1, 2 ->
                        world.ask(Fixture.request(
                                id, new Request.Deploy(Fixture.spec("net", 1 + random.nextInt(4), Map.of()), name)));
                    case 3, 4, 5 -> world.ask(Fixture.request(id, new Request.Checkpoint(name, null)));
                    case 6 ->
                        world.ask(Fixture.request(
                                id,
                                new Request.Restore(
                                        checkpoint.isEmpty() ? "cp-none" : checkpoint.getFirst(),
                                        name,
                                        null,
                                        random.nextBoolean())));
                    case 7 -> world.ask(Fixture.request(id, new Request.Destroy(name, false)));
                    case 8 ->
                        world.ask(Fixture.request(
                                id,
                                new Request.Forget(
                                        List.of(checkpoint.isEmpty() ? "cp-none" : checkpoint.getLast()),
                                        null,
                                        null,
                                        random.nextBoolean())));
                    case 9 ->
                        world.ask(Fixture.request(
                                id,
                                checkpoint.isEmpty()
                                        ? new Request.Verify(null, 10)
                                        : new Request.Hold(checkpoint.getFirst(), "why", null)));
                    default -> world.ask(Fixture.request(id, new Request.Prune(random.nextBoolean())));
                }
                if (random.nextInt(3) > 0) {
                    world.run(40_000);
                }
            }
            world.run(40_000);
            world.calm();
            world.run(40_000);
            world.checkEnd();
            return world;
        } catch (World.Broken e) {
            throw new AssertionError("seed " + seed + " (-Dholdfast.sim.first=" + seed + "): " + e.getMessage(), e);
        }
    }

    // ---- the test of the test: mistakes that have to be noticed

    @Test
    void givenACoordinatorThatForgetsToAbort_theSimulationNotices() {
        assertThat(mistake(d -> new Decision(
                        d.state(),
                        d.effects().stream()
                                .filter(e -> !(e instanceof Effect.Send s && s.command() instanceof Command.Abort))
                                .toList())))
                .hasValueSatisfying(m -> assertThat(m).contains("without an abort"));
    }

    @Test
    void givenACoordinatorThatMovesTheCutWhenItRepeatsIt_theSimulationNotices() {
        int[] n = {0};
        assertThat(mistake(d -> new Decision(
                        d.state(),
                        d.effects().stream()
                                .map(e -> e instanceof Effect.Send s && s.command() instanceof Command.Cut c
                                        ? new Effect.Send(
                                                new Command.Cut(c.header(), c.checkpoint(), c.startAtMicros() + n[0]++),
                                                s.trace())
                                        : e)
                                .toList())))
                .hasValueSatisfying(m -> assertThat(m).contains("two contents"));
    }

    @Test
    void givenACoordinatorThatDoesNotJournalTheCut_theSimulationNotices() {
        assertThat(mistake(d -> new Decision(
                        d.state(),
                        d.effects().stream()
                                .filter(e -> !(e instanceof Effect.JournalOperation j
                                        && j.operation().state() instanceof OperationState.Cutting))
                                .toList())))
                .hasValueSatisfying(m -> assertThat(m).contains("while the journal says"));
    }

    @Test
    void givenACoordinatorThatCompletesBeforeTheCommit_theSimulationNotices() {
        Function<Decision, Decision> hasty = d -> {
            var effects = new ArrayList<Effect>();
            Effect.Publish early = null;
            for (Effect e : d.effects()) {
                if (e instanceof Effect.JournalOperation j
                        && j.operation().state() instanceof OperationState.Committing c) {
                    Operation op = j.operation();
                    var done = new PublicEvent.CheckpointCompleted(
                            op.id(),
                            op.instance(),
                            op.checkpoint(),
                            "k",
                            "s",
                            c.manifest().cut(),
                            c.archive(),
                            c.manifest().takenAt(),
                            1);
                    effects.add(new Effect.JournalOperation(
                            op.in(new OperationState.Completed(c.span().startedAt(), false, done, null))));
                    early = new Effect.Publish(op.id() + "/ended", op.id(), done, Map.of());
                } else if (!(e instanceof Effect.Send s && s.command() instanceof Command.Commit)) {
                    effects.add(e);
                }
            }
            if (early != null) {
                effects.add(early);
            }
            return new Decision(d.state(), effects);
        };
        assertThat(mistake(hasty)).hasValueSatisfying(m -> assertThat(m).contains("nothing was committed"));
    }

    private static Optional<String> mistake(Function<Decision, Decision> change) {
        Decider decider = new Decider(SETTINGS);
        for (long seed = 1; seed <= 50; seed++) {
            try {
                live(seed, (s, i, t) -> change.apply(decider.decide(s, i, t)));
            } catch (AssertionError e) {
                return Optional.of(e.getMessage());
            }
        }
        return Optional.empty();
    }
}
