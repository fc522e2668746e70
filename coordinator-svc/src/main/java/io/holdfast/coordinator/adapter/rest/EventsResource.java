package io.holdfast.coordinator.adapter.rest;

import io.holdfast.coordinator.app.EventLog;
import io.holdfast.schemas.view.EventLine;
import io.smallrye.mutiny.Multi;
import io.smallrye.mutiny.subscription.BackPressureStrategy;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.QueryParam;
import java.util.function.Predicate;
import org.jboss.resteasy.reactive.RestMulti;

/** Public events as JSON lines. */
@Path("/api/v1/events")
public class EventsResource {
    private final EventLog log;

    EventsResource(EventLog log) {
        this.log = log;
    }

    /**
     * The latest events, oldest first; with {@code follow}, every further one until the client goes.
     *
     * @param instance only those of that instance
     * @param operation only those of that operation
     */
    @GET
    @Produces("application/x-ndjson")
    public Multi<EventLine> events(
            @QueryParam("instance") String instance,
            @QueryParam("operation") String operation,
            @QueryParam("follow") boolean follow) {
        Predicate<EventLog.Entry> wanted = e -> (instance == null || instance.equals(e.instance()))
                && (operation == null || operation.equals(e.operation()));
        if (!follow) {
            return RestMulti.fromMultiData(Multi.createFrom()
                            .iterable(log.recent().stream()
                                    .filter(wanted)
                                    .map(EventLog.Entry::line)
                                    .toList()))
                    .withDemand(64)
                    .build();
        }
        Multi<EventLine> lines = Multi.createFrom()
                .emitter(
                        to -> to.onTermination(log.watch(e -> {
                            if (wanted.test(e)) {
                                to.emit(e.line());
                            }
                        })),
                        BackPressureStrategy.BUFFER);
        return RestMulti.fromMultiData(lines).withDemand(64).build();
    }
}
