package io.holdfast.bench;

import io.holdfast.e2e.Events;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import java.time.Duration;
import java.time.Instant;

/** Requests of one instance of a bench, each with an id of its own. Not thread-safe. */
final class Requests {
    private final Events events;
    private final String instance;
    private final Duration limit;

    Requests(Events events, String instance, Duration limit) {
        this.events = events;
        this.instance = instance;
        this.limit = limit;
    }

    /** Publishes a request and waits for its end, which must be of that type. */
    <T extends PublicEvent> T completed(Request request, Class<T> type) {
        PublicEvent end = events.awaitEnd(events.publish(request, nextId()), limit);
        if (!type.isInstance(end)) {
            throw new IllegalStateException(request + " did not complete: " + end);
        }
        return type.cast(end);
    }

    String nextId() {
        return instance + "-" + Instant.now().toEpochMilli() + "-"
                + events.seen().size();
    }
}
