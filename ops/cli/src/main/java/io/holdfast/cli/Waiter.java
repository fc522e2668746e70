package io.holdfast.cli;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.view.EventLine;
import io.holdfast.schemas.view.OperationView;
import io.holdfast.schemas.view.RequestAccepted;
import java.io.PrintStream;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Waits for an operation's end and shows what it does. The end is what {@code GET /operations/ID} says; events only
 * feed the progress, so a lost event stream costs nothing but lines.
 */
public final class Waiter {
    /** Phases whose progress is counted in steps. */
    private static final Set<String> STEPS = Set.of("forget", "prune", "hold", "stats", "rebuild");

    private static final Duration ASK_EVERY = Duration.ofMillis(150);

    private final Api api;
    private final Consumer<String> progress;

    /** @param progress takes a line for people per step */
    public Waiter(Api api, Consumer<String> progress) {
        this.api = api;
        this.progress = progress;
    }

    /** Lines on a stream, nothing when null. */
    static Consumer<String> lines(PrintStream out) {
        return out == null ? line -> {} : line -> out.println("  " + line);
    }

    /**
     * Waits.
     *
     * @param limit how long at most
     * @return the operation, completed
     * @throws ApiException FAILED, REJECTED, or TIMEOUT after the limit
     */
    public OperationView await(RequestAccepted accepted, Duration limit) {
        return check(end(accepted.operation(), limit));
    }

    /** Waits for the end, whatever it is. */
    public OperationView end(String operation, Duration limit) {
        Thread events = Thread.ofVirtual().unstarted(() -> followProgress(operation));
        events.start();
        long end = System.nanoTime() + limit.toNanos();
        try {
            while (true) {
                Optional<OperationView> now = api.operation(operation);
                if (now.isPresent() && !now.get().state().equals("running")) {
                    return now.get();
                }
                if (System.nanoTime() > end) {
                    throw new ApiException(
                            ApiException.Kind.TIMEOUT,
                            now.isEmpty()
                                    ? "operation " + operation + " was not begun within " + limit.toSeconds()
                                            + " s: does the coordinator read its requests?"
                                    : "operation " + operation + " is still at work (phase "
                                            + now.get().phase() + ") after " + limit.toSeconds()
                                            + " s; holdfast watch " + operation);
                }
                Thread.sleep(ASK_EVERY.toMillis());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ApiException(ApiException.Kind.TIMEOUT, "interrupted");
        } finally {
            events.interrupt();
        }
    }

    /** Throws unless completed. */
    public static OperationView check(OperationView o) {
        return switch (o.state()) {
            case "completed" -> o;
            case "rejected" -> throw ApiException.of(ApiException.Kind.REJECTED, o.problems());
            default -> throw new ApiException(ApiException.Kind.FAILED, failure(o));
        };
    }

    private static String failure(OperationView o) {
        StringBuilder b = new StringBuilder();
        b.append(o.kind()).append(of(o.instance())).append(" failed");
        if (o.phase() != null) {
            b.append(" in phase ").append(o.phase());
        }
        b.append(": ").append(o.code()).append(": ").append(o.message());
        // what one host said is often the whole message
        o.hosts().stream()
                .filter(h -> o.hosts().size() > 1
                        || h.code() != o.code()
                        || !o.message().endsWith(h.host() + ": " + h.message()))
                .forEach(h -> b.append("\n  ")
                        .append(h.host())
                        .append(": ")
                        .append(h.code())
                        .append(": ")
                        .append(h.message()));
        if (o.remedy() != null && !o.remedy().isEmpty()) {
            b.append("\n  -> ").append(o.remedy());
        }
        return b.append("\n  operation ").append(o.operation()).toString();
    }

    private void followProgress(String operation) {
        try {
            Set<String> shown = new LinkedHashSet<>();
            api.events(null, operation, true, e -> {
                boolean bad = e.type().endsWith(".failed.v1") || e.type().endsWith(".rejected.v1"); // told at the end
                if (shown.add(e.id()) && !bad) {
                    describe(e).ifPresent(progress);
                }
                return !Thread.currentThread().isInterrupted() && !isEnd(e);
            });
        } catch (ApiException e) {
            // Only the progress display is lost; await() asks for the state itself.
        }
    }

    /** Whether an event ends its operation. */
    static boolean isEnd(EventLine e) {
        return EventType.named(e.type())
                .map(t -> t == EventType.OPERATION_REJECTED
                        || t == EventType.OPERATION_FAILED
                        || t.typeName().endsWith(".completed.v1"))
                .orElse(false);
    }

    /** A line for people, empty for what is not worth one. */
    static Optional<String> describe(EventLine e) {
        JsonNode d = e.data();
        EventType type = EventType.named(e.type()).orElse(null);
        if (type == null) {
            return Optional.of(e.type() + " " + d);
        }
        return Optional.ofNullable(
                switch (type) {
                    case OPERATION_ACCEPTED ->
                        d.path("kind").asText() + of(d.path("instance").asText(null))
                                + " accepted: " + d.path("operation").asText()
                                + (d.hasNonNull("checkpoint")
                                        ? ", checkpoint " + d.get("checkpoint").asText()
                                        : "");
                    case OPERATION_REJECTED ->
                        "rejected: " + d.path("problems").path(0).path("code").asText() + ": "
                                + d.path("problems").path(0).path("message").asText()
                                + (d.path("problems").size() > 1 ? " (and more)" : "");
                    case OPERATION_PROGRESSED -> progressed(d);
                    case OPERATION_FAILED ->
                        d.path("kind").asText() + " failed in "
                                + d.path("phase").asText() + ": "
                                + d.path("code").asText() + ": "
                                + d.path("message").asText();
                    case VM_EXITED ->
                        "VM " + d.path("vm").asText() + " of "
                                + d.path("instance").asText() + " ended on "
                                + d.path("host").asText() + ": "
                                + d.path("reason").asText();
                    default ->
                        type.typeName().endsWith(".completed.v1")
                                ? type.typeName().split("\\.", -1)[2]
                                        + of(d.path("instance").asText(null)) + " completed in "
                                        + Text.millis(d.path("durationMillis").asLong())
                                : e.type() + " " + d;
                });
    }

    private static String of(String instance) {
        return instance == null ? "" : " of " + instance;
    }

    private static String progressed(JsonNode d) {
        String host = d.hasNonNull("host") ? " on " + d.get("host").asText() : "";
        String state = d.path("state").asText();
        String phase = d.path("phase").asText();
        return switch (state) {
            case "started" -> d.hasNonNull("host") ? null : phase + " ...";
            case "done" -> phase + host + " done";
            case "waiting" ->
                phase + host + " waits, "
                        + (d.hasNonNull("again")
                                ? "tried again at " + d.get("again").asText()
                                : "goes on when it is heard of again")
                        + ": "
                        + d.path("why").path("code").asText() + ": "
                        + d.path("why").path("message").asText();
            default -> {
                boolean steps = STEPS.contains(phase);
                long left = d.path("secondsLeft").asLong();
                yield phase + host + " " + amount(d.path("done"), steps) + " of " + amount(d.path("total"), steps)
                        + (steps || !d.hasNonNull("perSecond") ? "" : ", " + amount(d.get("perSecond"), false) + "/s")
                        + (d.hasNonNull("secondsLeft") ? ", " + Text.seconds(left) + " left" : "");
            }
        };
    }

    private static String amount(JsonNode n, boolean steps) {
        return steps ? Long.toString(n.asLong()) : Text.bytes(n.asLong());
    }
}
