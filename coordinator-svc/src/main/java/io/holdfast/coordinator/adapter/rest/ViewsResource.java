package io.holdfast.coordinator.adapter.rest;

import io.holdfast.coordinator.app.Engine;
import io.holdfast.coordinator.app.EventLog;
import io.holdfast.coordinator.config.CoordinatorConfig;
import io.holdfast.coordinator.domain.Views;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.SpecNormalizer;
import io.holdfast.schemas.spec.SpecReader;
import io.holdfast.schemas.view.CheckpointView;
import io.holdfast.schemas.view.HostView;
import io.holdfast.schemas.view.InstanceView;
import io.holdfast.schemas.view.OperationView;
import jakarta.ws.rs.Consumes;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.QueryParam;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** What the coordinator knows, for people and tools; and the check of a spec. */
@Path("/api/v1")
@Produces(MediaType.APPLICATION_JSON)
public class ViewsResource {
    private final Engine engine;
    private final EventLog log;
    private final CoordinatorConfig config;

    ViewsResource(Engine engine, EventLog log, CoordinatorConfig config) {
        this.engine = engine;
        this.log = log;
        this.config = config;
    }

    /** Answer of the check of a spec: the spec with every default filled in. */
    public record ValidSpec(NetworkSpec spec) {}

    /** Checks a spec, YAML or JSON, and fills in the defaults. */
    @POST
    @Path("/specs/validate")
    @Consumes(MediaType.WILDCARD)
    public Response validate(String text) {
        if (text == null || text.isBlank()) {
            return Errors.answer(
                    400,
                    List.of(new Problem(ErrorCode.INVALID_SPEC, "", "the body is empty", "send a spec, YAML or JSON")));
        }
        try {
            return Response.ok(new ValidSpec(SpecNormalizer.normalize(SpecReader.read(text))))
                    .build();
        } catch (InvalidEventException e) {
            return Errors.answer(400, e.problems());
        }
    }

    /** All instances. */
    @GET
    @Path("/instances")
    public List<InstanceView> instances() {
        var state = engine.state();
        Instant now = engine.now();
        return state.instances().values().stream()
                .map(i -> Views.instance(state, i, now, config.hostAlive()))
                .toList();
    }

    /** One instance. */
    @GET
    @Path("/instances/{name}")
    public InstanceView instance(@PathParam("name") String name) {
        var state = engine.state();
        var instance = state.instances().get(name);
        if (instance == null) {
            throw Errors.notFound(ErrorCode.UNKNOWN_INSTANCE, "no instance " + name + " is known");
        }
        return Views.instance(state, instance, engine.now(), config.hostAlive());
    }

    /** Operations, newest first; with refused requests of late. */
    @GET
    @Path("/operations")
    public List<OperationView> operations(@QueryParam("instance") String instance) {
        var list = new ArrayList<OperationView>();
        engine.state().operations().values().forEach(o -> list.add(Views.operation(o, EventCodec.json()::valueToTree)));
        log.rejections().forEach(r -> list.add(rejected(r)));
        list.removeIf(o -> instance != null && !instance.equals(o.instance()));
        list.sort(Comparator.comparing(OperationView::startedAt).reversed());
        return list;
    }

    /** One operation, by its id. */
    @GET
    @Path("/operations/{id}")
    public OperationView operation(@PathParam("id") String id) {
        var op = engine.state().operations().get(id);
        if (op != null) {
            return Views.operation(op, EventCodec.json()::valueToTree);
        }
        return log.rejection(id)
                .map(ViewsResource::rejected)
                .orElseThrow(
                        () -> Errors.notFound(ErrorCode.INVALID_EVENT, "no operation " + id + " is known (any more)"));
    }

    private static OperationView rejected(EventLog.Rejection r) {
        PublicEvent.Rejected e = r.event();
        Problem first = e.problems().isEmpty() ? null : e.problems().getFirst();
        return new OperationView(
                r.line().subject(),
                e.kind(),
                e.instance(),
                e.requestId(),
                e.requestSource(),
                "rejected",
                null,
                null,
                r.line().time(),
                r.line().time(),
                first == null ? null : first.code(),
                first == null ? null : first.message(),
                first == null ? null : first.remedy(),
                e.problems(),
                List.of(),
                null,
                null);
    }

    /** Checkpoints that can be restored, newest first. */
    @GET
    @Path("/checkpoints")
    public List<CheckpointView> checkpoints(@QueryParam("instance") String instance) {
        return engine.state().checkpoints().values().stream()
                .filter(c -> instance == null || instance.equals(c.instance()))
                .sorted(Comparator.comparing(CheckpointView::takenAt).reversed())
                .toList();
    }

    /** One checkpoint. */
    @GET
    @Path("/checkpoints/{id}")
    public CheckpointView checkpoint(@PathParam("id") String id) {
        var c = engine.state().checkpoints().get(id);
        if (c == null) {
            throw Errors.notFound(ErrorCode.UNKNOWN_CHECKPOINT, "no checkpoint " + id + " is known");
        }
        return c;
    }

    /** Hosts that were ever heard of. */
    @GET
    @Path("/hosts")
    public List<HostView> hosts() {
        Instant now = engine.now();
        return engine.state().hosts().values().stream()
                .map(h -> Views.host(h, now, config.hostAlive()))
                .toList();
    }
}
