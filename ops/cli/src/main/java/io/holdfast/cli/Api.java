package io.holdfast.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.view.CheckpointView;
import io.holdfast.schemas.view.ErrorView;
import io.holdfast.schemas.view.EventLine;
import io.holdfast.schemas.view.HostView;
import io.holdfast.schemas.view.InstanceView;
import io.holdfast.schemas.view.OperationView;
import io.holdfast.schemas.view.RequestAccepted;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** The coordinator's REST interface. Every method throws {@link ApiException}. Thread-safe. */
public final class Api {
    private static final ObjectMapper JSON =
            EventCodec.json().copy().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

    private final URI server;
    private final HttpClient http;

    /** @param server such as {@code http://10.77.0.1:18080} */
    public Api(URI server) {
        this.server = server;
        this.http = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .connectTimeout(Duration.ofSeconds(5))
                .build();
    }

    /** The mapper for answers: the contract's, but lenient about properties that a newer coordinator may add. */
    public static ObjectMapper json() {
        return JSON;
    }

    /** The coordinator that is spoken to. */
    public URI server() {
        return server;
    }

    public List<InstanceView> instances() {
        return get("/instances", new TypeReference<List<InstanceView>>() {}).orElseThrow();
    }

    public Optional<InstanceView> instance(String name) {
        return get("/instances/" + encode(name), new TypeReference<InstanceView>() {});
    }

    public List<OperationView> operations() {
        return get("/operations", new TypeReference<List<OperationView>>() {}).orElseThrow();
    }

    public Optional<OperationView> operation(String id) {
        return get("/operations/" + encode(id), new TypeReference<OperationView>() {});
    }

    public List<CheckpointView> checkpoints() {
        return get("/checkpoints", new TypeReference<List<CheckpointView>>() {}).orElseThrow();
    }

    public Optional<CheckpointView> checkpoint(String id) {
        return get("/checkpoints/" + encode(id), new TypeReference<CheckpointView>() {});
    }

    public List<HostView> hosts() {
        return get("/hosts", new TypeReference<List<HostView>>() {}).orElseThrow();
    }

    /**
     * Publishes a request.
     *
     * @param requestId the CloudEvent's id, or null: chosen by the coordinator
     */
    public RequestAccepted request(Request request, String requestId) {
        String kind =
                switch (request) {
                    case Request.Deploy d -> "deploy";
                    case Request.Checkpoint c -> "checkpoint";
                    case Request.Restore r -> "restore";
                    case Request.Destroy d -> "destroy";
                    case Request.Verify v -> "verify";
                    case Request.Forget f -> "forget";
                    case Request.Prune p -> "prune";
                    case Request.Hold h -> "hold";
                    case Request.Release r -> "release";
                    case Request.Stats s -> "stats";
                    case Request.Rebuild r -> "rebuild";
                };
        try {
            HttpRequest.Builder b = builder("/requests/" + kind)
                    .header("content-type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofByteArray(JSON.writeValueAsBytes(request)));
            if (requestId != null) {
                b.header("Holdfast-Request-Id", requestId);
            }
            return read(send(b.build()), new TypeReference<RequestAccepted>() {})
                    .orElseThrow();
        } catch (JsonProcessingException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Checks a spec, YAML or JSON, and gives it back complete, or is {@code REJECTED} with every problem. */
    public NetworkSpec validate(String text) {
        HttpRequest r = builder("/specs/validate")
                .header("content-type", "text/plain")
                .POST(HttpRequest.BodyPublishers.ofString(text))
                .build();
        JsonNode answer = read(send(r), new TypeReference<JsonNode>() {}).orElseThrow();
        return JSON.convertValue(answer.get("spec"), NetworkSpec.class);
    }

    /**
     * Reads public events until {@code more} says no or the server ends the stream. Blocks.
     *
     * @param instance only of that instance, or null
     * @param operation only of that operation, beginning with its recent ones, or null
     * @param follow true: waits for new ones
     */
    public void events(String instance, String operation, boolean follow, Predicate<EventLine> more) {
        String query = "?follow=" + follow
                + (instance == null ? "" : "&instance=" + encode(instance))
                + (operation == null ? "" : "&operation=" + encode(operation));
        HttpResponse<InputStream> answer = send(builder("/events" + query).build());
        if (answer.statusCode() != 200) {
            read(answer, new TypeReference<JsonNode>() {});
            return;
        }
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(answer.body(), StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (!line.isBlank() && !more.test(JSON.readValue(line, EventLine.class))) {
                    return;
                }
            }
        } catch (IOException e) {
            throw unreachable(e);
        }
    }

    /** The answer of a GET, empty when there is no such thing (404). */
    private <T> Optional<T> get(String path, TypeReference<T> type) {
        HttpResponse<InputStream> answer =
                send(builder(path).timeout(Duration.ofSeconds(20)).build());
        return read(answer, type);
    }

    private HttpRequest.Builder builder(String path) {
        String base = server.toString();
        return HttpRequest.newBuilder(
                URI.create((base.endsWith("/") ? base.substring(0, base.length() - 1) : base) + "/api/v1" + path));
    }

    private HttpResponse<InputStream> send(HttpRequest request) {
        try {
            return http.send(request, HttpResponse.BodyHandlers.ofInputStream());
        } catch (IOException e) {
            throw unreachable(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ApiException(ApiException.Kind.TIMEOUT, "interrupted", List.of(), e);
        }
    }

    private <T> Optional<T> read(HttpResponse<InputStream> answer, TypeReference<T> type) {
        try (InputStream body = answer.body()) {
            int status = answer.statusCode();
            if (status / 100 == 2) {
                return Optional.of(JSON.readValue(body, type));
            }
            if (status == 404) {
                return Optional.empty();
            }
            byte[] bytes = body.readAllBytes();
            ErrorView error = errors(bytes);
            if (error != null) {
                throw ApiException.of(
                        status / 100 == 4 ? ApiException.Kind.REJECTED : ApiException.Kind.INTERNAL, error.problems());
            }
            throw new ApiException(
                    ApiException.Kind.INTERNAL,
                    server + " answered " + status + " to " + answer.uri().getPath() + ": "
                            + new String(bytes, 0, Math.min(bytes.length, 400), StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new ApiException(
                    ApiException.Kind.INTERNAL,
                    server + " sent an answer that cannot be read: " + e.getMessage(),
                    List.of(),
                    e);
        }
    }

    private static ErrorView errors(byte[] body) {
        try {
            ErrorView v = JSON.readValue(body, ErrorView.class);
            return v == null || v.problems().isEmpty() ? null : v;
        } catch (IOException | RuntimeException e) {
            return null;
        }
    }

    private ApiException unreachable(IOException e) {
        String why = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        return new ApiException(
                ApiException.Kind.UNREACHABLE,
                "no coordinator at " + server + " (" + why + ")\n  -> is the stack up? ./holdfast up, or give --server",
                List.of(),
                e);
    }

    private static String encode(String s) {
        return URLEncoder.encode(s, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
