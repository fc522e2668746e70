package io.holdfast.coordinator.adapter.rest;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.holdfast.coordinator.adapter.kafka.KafkaOutbox;
import io.holdfast.coordinator.domain.Ids;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.view.RequestAccepted;
import io.smallrye.common.annotation.Blocking;
import jakarta.ws.rs.Consumes;
import jakarta.ws.rs.HeaderParam;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.time.Clock;
import java.time.OffsetDateTime;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Requests by REST: the body is published as it is, in a CloudEvent on the requests topic, as any Kafka client could.
 * Whether it is accepted is told by events, not here.
 */
@Path("/api/v1/requests")
public class RequestsResource {
    private final KafkaOutbox outbox;

    RequestsResource(KafkaOutbox outbox) {
        this.outbox = outbox;
    }

    /**
     * Publishes a request.
     *
     * @param kind one of {@link OperationKind}
     * @param requestId id of the request; one is made if absent
     * @param traceparent W3C trace context, carried on
     */
    @POST
    @Path("/{kind}")
    @Consumes(MediaType.APPLICATION_JSON)
    @Produces(MediaType.APPLICATION_JSON)
    @Blocking
    public Response request(
            @PathParam("kind") String kind,
            @HeaderParam("Holdfast-Request-Id") String requestId,
            @HeaderParam("traceparent") String traceparent,
            String body) {
        OperationKind asked = Arrays.stream(OperationKind.values())
                .filter(k -> k.name().equals(kind))
                .findFirst()
                .orElseThrow(() -> Errors.notFound(
                        ErrorCode.INVALID_EVENT,
                        "no request '" + kind + "': there are " + Arrays.toString(OperationKind.values())));
        EventType type = EventType.named("io.holdfast.request." + asked + ".v1").orElseThrow();
        JsonNode data;
        try {
            data = EventCodec.json().readTree(body == null ? "" : body);
        } catch (JsonProcessingException e) {
            return invalid("not JSON: " + e.getOriginalMessage());
        }
        if (!data.isObject()) {
            return invalid("the body is not a JSON object");
        }
        String id = requestId == null || requestId.isBlank() ? UUID.randomUUID().toString() : requestId;
        if (id.length() > 256) {
            return invalid("the request id is longer than 256 characters");
        }
        String source = KafkaOutbox.REST_SOURCE.toString();
        String operation = Ids.operation(source, id);
        var builder = CloudEventBuilder.v1()
                .withId(id)
                .withSource(KafkaOutbox.REST_SOURCE)
                .withType(type.typeName())
                .withTime(OffsetDateTime.now(Clock.systemUTC()))
                .withData("application/json", data.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8));
        if (traceparent != null && traceparent.length() <= 512) {
            builder.withExtension("traceparent", traceparent);
        }
        CloudEvent event = builder.build();
        String instance = data.path("instance").isTextual()
                ? data.path("instance").asText()
                : data.path("spec").path("name").asText(operation);
        try {
            outbox.request(event, instance).get(30, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return unavailable(e);
        } catch (ExecutionException | TimeoutException e) {
            return unavailable(e);
        }
        return Response.accepted(new RequestAccepted(id, operation)).build();
    }

    private static Response invalid(String message) {
        return Errors.answer(
                400,
                List.of(new Problem(ErrorCode.INVALID_EVENT, "", message, "send the request's record as JSON object")));
    }

    private static Response unavailable(Exception e) {
        return Errors.answer(
                503,
                List.of(new Problem(
                        ErrorCode.INTERNAL,
                        "",
                        "the broker did not take the request: " + e,
                        "send it again with the same Holdfast-Request-Id")));
    }
}
