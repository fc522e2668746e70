package io.holdfast.coordinator.app;

import io.holdfast.coordinator.domain.Decider;
import io.holdfast.coordinator.domain.Decision;
import io.holdfast.coordinator.domain.Effect;
import io.holdfast.coordinator.domain.Input;
import io.holdfast.coordinator.domain.State;
import io.holdfast.schemas.event.PublicEvent;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.jboss.logging.Logger;

/**
 * The one thread that decides. Takes inputs in order; for each it decides, writes the journal records and waits for
 * their acknowledgement, then does the other effects and waits for theirs, then completes the input's future, so that
 * the input may be acknowledged. Neither a failing broker nor a failing decision ends the loop: the one is tried again
 * until it works, the other is logged and passed over.
 */
public final class Engine implements AutoCloseable {
    private static final Logger LOG = Logger.getLogger(Engine.class);
    private static final Duration EFFECT_LIMIT = Duration.ofMinutes(3);

    /** When so much more than a tick has gone by without a decision, hosts may have been heard of meanwhile. */
    private static final Duration STALL = Duration.ofSeconds(5);

    /** Where effects go. Futures complete when the broker has acknowledged. Called by the engine's thread only. */
    public interface Outbox {
        /** Writes a journal record. */
        CompletableFuture<Void> journal(Effect.Journal record);

        /** Carries out an effect that is not a journal record. */
        CompletableFuture<Void> carryOut(Effect effect, Instant now);
    }

    /** Hears what happens, for metrics. Called by the engine's thread; must not throw or block. */
    public interface Listener {
        /** A decision is carried out. */
        default void decided(Input input, Decision decision) {}

        /** A decision could not be made: a defect. */
        default void defect(Input input, RuntimeException e) {}

        /** The broker could not be written to; it will be tried again. */
        default void retried(Throwable cause) {}
    }

    private record Item(Input input, CompletableFuture<Void> done) {}

    private final Decider decider;
    private final Outbox outbox;
    private final Listener listener;
    private final Clock clock;
    private final Duration tick;
    private final Duration pause;
    private final LinkedBlockingQueue<Item> queue = new LinkedBlockingQueue<>();
    private volatile State state = State.empty();
    private volatile boolean running;
    private volatile boolean stopped;
    private Instant last = Instant.MIN;
    /** When a decision was made last, or could have been. */
    private Instant awake;

    private Thread thread;

    /**
     * An engine that does not run yet.
     *
     * @param tick time between ticks
     * @param pause time between attempts to write to a broker that fails
     */
    public Engine(Decider decider, Outbox outbox, Listener listener, Clock clock, Duration tick, Duration pause) {
        this.decider = decider;
        this.outbox = outbox;
        this.listener = listener;
        this.clock = clock;
        this.tick = tick;
        this.pause = pause;
    }

    /** Begins to decide, from what the journal told: first what was outstanding is sent again. */
    public synchronized void start(State replayed) {
        if (thread != null) {
            throw new IllegalStateException("started already");
        }
        state = replayed;
        thread = Thread.ofPlatform().name("coordinator").daemon().start(this::run);
    }

    /**
     * Hands an input over. Any thread.
     *
     * @return completes when its effects are acknowledged by the broker; never fails, but is cancelled by {@link #close}
     */
    public CompletableFuture<Void> offer(Input input) {
        var item = new Item(input, new CompletableFuture<>());
        queue.add(item);
        if (stopped) {
            item.done().cancel(false);
        }
        return item.done();
    }

    /** What is known now: journalled, or from heartbeats. Any thread. */
    public State state() {
        return state;
    }

    /** The settings-independent clock reading that decisions use. */
    public Instant now() {
        return clock.instant();
    }

    /** Whether it decides: the journal was replayed and what was outstanding is sent. */
    public boolean running() {
        return running && !stopped;
    }

    private void run() {
        awake = clock.instant();
        process(new Input.Recovered());
        running = !stopped;
        Instant nextTick = clock.instant().plus(tick);
        while (!stopped) {
            try {
                long wait = Duration.between(clock.instant(), nextTick).toMillis();
                Item item = queue.poll(Math.max(0, wait), TimeUnit.MILLISECONDS);
                if (item != null) {
                    stayAwake();
                    process(item.input());
                    if (!stopped) {
                        item.done().complete(null);
                    }
                }
                if (!clock.instant().isBefore(nextTick)) {
                    stayAwake();
                    process(new Input.Tick());
                    nextTick = clock.instant().plus(tick);
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                break;
            } catch (RuntimeException e) {
                LOG.error("event=loop_defect", e);
            }
        }
        running = false;
    }

    /**
     * Before a decision. If the last one is long ago, because the broker took nothing, the process was stopped or its clock
     * was set, nobody was silent: what hosts said lies unread.
     */
    private void stayAwake() {
        Instant now = clock.instant();
        if (awake.plus(tick).plus(STALL).isBefore(now)) {
            LOG.warnf(
                    "event=stood_still seconds=%d", Duration.between(awake, now).toSeconds());
            process(new Input.Stalled());
        }
        awake = now;
    }

    private void process(Input input) {
        Decision decision;
        Instant now = clock.instant();
        if (now.isBefore(last)) {
            now = last; // the wall clock was set back
        }
        last = now;
        try {
            decision = decider.decide(state, input, now);
        } catch (RuntimeException e) {
            LOG.errorf(e, "event=decision_defect input=%s", input);
            listener.defect(input, e);
            return;
        }
        Instant at = now;
        List<Effect.Journal> journal = decision.journal();
        if (!journal.isEmpty()
                && !insist(() -> journal.stream().map(outbox::journal).toList())) {
            return;
        }
        state = decision.state();
        List<Effect> outward = decision.outward();
        if (!outward.isEmpty()
                && !insist(
                        () -> outward.stream().map(e -> outbox.carryOut(e, at)).toList())) {
            return;
        }
        listener.decided(input, decision);
        for (Effect effect : outward) {
            if (effect instanceof Effect.Publish p
                    && p.event() instanceof PublicEvent.Progressed w
                    && w.why() != null) {
                LOG.warnf(
                        "operation=%s instance=%s phase=%s host=%s event=%s code=%s reason=\"%s\"",
                        w.operation(),
                        w.instance(),
                        w.phase(),
                        w.host(),
                        w.again() == null ? "waited-for" : "tried-again at=" + w.again(),
                        w.why().code(),
                        w.why().message());
            }
            if (effect instanceof Effect.Publish p && p.isOutcome()) {
                process(new Input.Announced(p.subject()));
            }
        }
    }

    /** Tries until every future succeeds; false when the engine was stopped before. */
    private boolean insist(Supplier<List<CompletableFuture<Void>>> attempt) {
        while (!stopped) {
            try {
                var futures = new ArrayList<>(attempt.get());
                CompletableFuture.allOf(futures.toArray(CompletableFuture[]::new))
                        .get(EFFECT_LIMIT.toMillis(), TimeUnit.MILLISECONDS);
                return true;
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            } catch (ExecutionException | CompletionException | TimeoutException e) {
                again(e.getCause() == null ? e : e.getCause());
            } catch (RuntimeException e) {
                again(e);
            }
            try {
                TimeUnit.MILLISECONDS.sleep(pause.toMillis());
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            }
        }
        return false;
    }

    private void again(Throwable cause) {
        LOG.warnf("event=write_retry cause=%s", cause);
        listener.retried(cause);
    }

    /** Stops; inputs not yet decided are cancelled and stay unacknowledged. */
    @Override
    public void close() {
        stopped = true;
        Thread t;
        synchronized (this) {
            t = thread;
        }
        if (t != null) {
            t.interrupt();
            try {
                t.join(Duration.ofSeconds(5));
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        Item item;
        while ((item = queue.poll()) != null) {
            item.done().cancel(false);
        }
    }
}
