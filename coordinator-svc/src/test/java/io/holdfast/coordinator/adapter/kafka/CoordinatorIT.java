package io.holdfast.coordinator.adapter.kafka;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.coordinator.app.Schedule;
import io.holdfast.coordinator.domain.Fixture;
import io.holdfast.devstack.KafkaBroker;
import io.holdfast.devstack.ProcessKit;
import io.holdfast.devstack.RepoRoot;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.event.Topics;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.schemas.view.CheckpointView;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.awaitility.core.ConditionFactory;
import org.awaitility.core.ConditionTimeoutException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The packaged coordinator as a process of its own, with a real broker and hosts played by the test. */
class CoordinatorIT {
    @TempDir
    static Path dir;

    private static final HttpClient HTTP = HttpClient.newHttpClient();
    private static KafkaBroker broker;
    private static ProcessKit.Running coordinator;
    private static FakePeers peers;
    private static int port;
    private static int starts;

    @BeforeAll
    static void start() throws Exception {
        broker = KafkaBroker.start(dir.resolve("kafka"), 0);
        // as an older coordinator, or an operator, made them
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.bootstrapServers()))) {
            admin.createTopics(Stream.of(Topics.REPORTS, Topics.COMMANDS)
                            .map(t -> new NewTopic(t, 1, (short) 1))
                            .toList())
                    .all()
                    .get();
        }
        port = ProcessKit.freePort();
        startCoordinator();
        peers = new FakePeers(broker.bootstrapServers(), List.of("h1", "h2", "h3"));
        soon().until(() -> get("/api/v1/hosts").size() == 3);
    }

    @AfterAll
    static void stop() throws InterruptedException {
        if (peers != null) {
            peers.close();
        }
        if (coordinator != null) {
            coordinator.close();
        }
        if (broker != null) {
            broker.close();
        }
    }

    private static void startCoordinator(String... more) {
        List<String> command = ProcessKit.java("-Xmx256m", "-XX:+UseSerialGC");
        command.addAll(List.of(
                "-Dkafka.bootstrap.servers=" + broker.bootstrapServers(),
                "-Dquarkus.http.port=" + port,
                "-Dquarkus.http.host=127.0.0.1",
                "-Dholdfast.coordinator.resend=60s",
                "-Dholdfast.coordinator.host-alive=60s")); // a busy machine lets hearts beat late
        command.addAll(List.of(more));
        command.addAll(List.of(
                "-jar",
                RepoRoot.built("coordinator-svc/target/quarkus-app")
                        .resolve("quarkus-run.jar")
                        .toString()));
        coordinator = ProcessKit.start(command, Map.of(), dir.resolve("coordinator-" + starts++ + ".log"));
        soon().until(() -> status("/q/health/ready") == 200);
    }

    @Test
    void givenHosts_whenANetworkLivesItsLife_everyStepCompletesAndEveryEventIsValid() throws Exception {
        ask("life-1", new Request.Deploy(Fixture.spec("life", 4, Map.of()), null));
        until(() -> !peers.of(
                        PublicEvent.DeployCompleted.class, e -> e.instance().equals("life"))
                .isEmpty());
        assertThat(get("/api/v1/instances/life").path("state").asText()).isEqualTo("running");

        post("/api/v1/requests/checkpoint", "{\"instance\":\"life\",\"label\":\"first\"}", 202);
        until(() -> !peers.of(
                        PublicEvent.CheckpointCompleted.class, e -> e.instance().equals("life"))
                .isEmpty());
        var done = peers.of(
                        PublicEvent.CheckpointCompleted.class, e -> e.instance().equals("life"))
                .getFirst();
        assertThat(done.cut().framesInFlight()).isEqualTo(8);
        until(() -> status("/api/v1/checkpoints/" + done.checkpoint()) == 200);

        var accepted = post(
                "/api/v1/requests/restore",
                "{\"checkpoint\":\"" + done.checkpoint() + "\",\"instance\":\"life2\",\"placement\":{\"a\":\"h3\"}}",
                202);
        String op = accepted.path("operation").asText();
        until(() -> get("/api/v1/operations/" + op).path("state").asText().equals("completed"));
        JsonNode view = get("/api/v1/operations/" + op);
        assertThat(view.path("completed").path("placement").path("a").asText()).isEqualTo("h3");
        assertThat(view.path("phases").has("pull")).isTrue();
        assertThat(text("/api/v1/events?operation=" + op).lines())
                .allMatch(l -> l.startsWith("{") && l.endsWith("}"))
                .anyMatch(l -> l.contains("io.holdfast.restore.completed.v1"));

        ask("life-4", new Request.Destroy("life2", null));
        until(() -> !peers.of(
                        PublicEvent.DestroyCompleted.class, e -> e.instance().equals("life2"))
                .isEmpty());
        assertThat(status("/api/v1/instances/life2")).isEqualTo(404);
        assertThat(peers.invalid).isEmpty();
    }

    @Test
    void givenACheckpointAtWork_whenTheCoordinatorIsKilled_itGoesOnWithTheSameCommands() throws Exception {
        ask("kill-1", new Request.Deploy(Fixture.spec("kill", 2, Map.of()), null));
        until(() -> !peers.of(
                        PublicEvent.DeployCompleted.class, e -> e.instance().equals("kill"))
                .isEmpty());
        peers.silent =
                c -> c instanceof Command.Archive && c.header().instance().equals("kill");
        ask("kill-2", new Request.Checkpoint("kill", null));
        until(() -> archives() == 2);

        ProcessKit.kill(coordinator.ids());
        startCoordinator();
        until(() -> archives() == 4);
        assertThat(get("/api/v1/instances/kill").path("operation").asText()).startsWith("op-");
        peers.silent = c -> false;
        peers.answerWithheld();

        until(() -> !peers.of(
                        PublicEvent.CheckpointCompleted.class, e -> e.instance().equals("kill"))
                .isEmpty());
        var ids = peers.commands.stream()
                .filter(c ->
                        c instanceof Command.Archive && c.header().instance().equals("kill"))
                .map(c -> c.header().id())
                .distinct();
        assertThat(ids).hasSize(2);
        assertThat(peers.commands.stream()
                        .filter(c -> "kill".equals(c.header().instance()))
                        .map(c -> c.header().epoch())
                        .distinct())
                .hasSizeGreaterThan(1);
    }

    private static long archives() {
        return peers.commands.stream()
                .filter(c ->
                        c instanceof Command.Archive && c.header().instance().equals("kill"))
                .count();
    }

    @Test
    void givenPoisonOnEveryTopic_whenARequestComesAfterIt_itIsServed() throws Exception {
        for (String topic : List.of(Topics.REQUESTS, Topics.REPORTS, Topics.HOSTS, Topics.CATALOG)) {
            peers.send(new ProducerRecord<>(topic, "k", "garbage".getBytes(StandardCharsets.UTF_8)));
            peers.send(new ProducerRecord<>(topic, "k", new byte[0]));
            peers.send(new ProducerRecord<>(topic, null, null));
            peers.send(new ProducerRecord<>(topic, "k", new byte[] {(byte) 0xff, (byte) 0xfe, 0}));
            var odd = new ProducerRecord<String, byte[]>(topic, "k", "{".getBytes(StandardCharsets.UTF_8));
            odd.headers().add("ce_specversion", "1.0".getBytes(StandardCharsets.UTF_8));
            odd.headers().add("ce_id", "odd".getBytes(StandardCharsets.UTF_8));
            odd.headers().add("ce_source", "/odd".getBytes(StandardCharsets.UTF_8));
            odd.headers().add("ce_type", "io.holdfast.unknown.v9".getBytes(StandardCharsets.UTF_8));
            peers.send(odd);
        }
        post("/api/v1/requests/deploy", "{\"spec\":{\"name\":\"BAD NAME\",\"vms\":[]},\"more\":1}", 202);

        until(() -> peers.of(PublicEvent.Rejected.class, r -> true).stream()
                .anyMatch(r -> r.problems().size() >= 2));
        until(() -> peers.of(PublicEvent.Rejected.class, r -> r.requestId().equals("odd")).stream()
                .anyMatch(r -> r.problems().getFirst().code() == ErrorCode.INVALID_EVENT));
        ask("poison-1", new Request.Deploy(Fixture.spec("poison", 1, Map.of()), null));
        until(() -> !peers.of(
                        PublicEvent.DeployCompleted.class, e -> e.instance().equals("poison"))
                .isEmpty());
        Instant after = Instant.now(); // heartbeats are read on, too
        until(() -> Instant.parse(get("/api/v1/hosts").path(0).path("agentSeen").asText())
                .isAfter(after));
        peers.publish(
                Topics.CATALOG,
                "cp-other",
                CatalogCodec.encode(
                        new CheckpointView("cp-other", "other", null, after, null, "k", null, manifest(after), false),
                        URI.create("/test"))); // and the catalog
        until(() -> status("/api/v1/checkpoints/cp-other") == 200);
        assertThat(status("/q/health/ready")).isEqualTo(200);
        assertThat(text("/q/metrics")).contains("holdfast_coordinator_records_unreadable");
    }

    @Test
    void givenACatalog_whenTheRepositoryIsWorkedOn_byEventAndByRest_theCatalogFollows() throws Exception {
        for (String id : List.of("cp-kept", "cp-old")) {
            Instant now = Instant.now();
            CheckpointManifest m = manifest(now);
            var named =
                    new CheckpointManifest(1, id, m.instance(), null, now, m.layout(), m.vms(), m.machines(), m.cut());
            peers.publish(
                    Topics.CATALOG,
                    id,
                    CatalogCodec.encode(
                            new CheckpointView(id, m.instance(), null, now, null, "k", null, named, false),
                            URI.create("/test")));
        }
        until(() -> status("/api/v1/checkpoints/cp-old") == 200 && status("/api/v1/checkpoints/cp-kept") == 200);

        ask("hold-1", new Request.Hold("cp-kept", "evidence", null));
        until(() -> get("/api/v1/checkpoints/cp-kept").path("held").asBoolean());
        ask("forget-1", new Request.Forget(List.of("cp-old"), null, null, false));
        until(() -> status("/api/v1/checkpoints/cp-old") == 404);
        assertThat(status("/api/v1/checkpoints/cp-kept")).isEqualTo(200);
        var verify = post("/api/v1/requests/verify", "{\"samplePercent\":10}", 202);
        String op = verify.path("operation").asText();
        until(() -> get("/api/v1/operations/" + op).path("state").asText().equals("completed"));

        assertThat(get("/api/v1/operations/" + op).at("/completed/result/sound").asBoolean())
                .isTrue();
        until(() -> !peers.of(
                        PublicEvent.VerifyCompleted.class, e -> e.operation().equals(op))
                .isEmpty());
        post("/api/v1/requests/stats", "{}", 202);
        until(() -> !peers.of(PublicEvent.StatsCompleted.class, e -> true).isEmpty());
        ask("bad-forget", new Request.Forget(null, null, null, null));
        until(() -> peers.of(PublicEvent.Rejected.class, r -> r.requestId().equals("bad-forget")).stream()
                .anyMatch(r -> r.problems().getFirst().code() == ErrorCode.INVALID_EVENT));
        assertThat(peers.invalid).isEmpty();
    }

    @Test
    void givenASchedule_whenTheCoordinatorStarts_whatIsDueIsDone_andNotAgainAtTheNextStart() {
        String verify = "-Dholdfast.coordinator.schedule.verify.every=24h";
        String prune = "-Dholdfast.coordinator.schedule.prune.every=24h";
        coordinator.close();
        startCoordinator(verify, prune, "-Dholdfast.coordinator.schedule.stats.every=24h");
        until(() -> scheduled(OperationKind.verify) == 1
                && scheduled(OperationKind.prune) == 1
                && scheduled(OperationKind.stats) == 1);
        until(() -> !peers.of(PublicEvent.PruneCompleted.class, e -> true).isEmpty());

        coordinator.close();
        startCoordinator(
                verify,
                prune,
                "-Dholdfast.coordinator.schedule.forget.every=24h",
                "-Dholdfast.coordinator.schedule.forget.keep-last=1000");
        until(() -> scheduled(OperationKind.forget) == 1); // the clock was looked at
        until(() -> !peers.of(PublicEvent.ForgetCompleted.class, e -> true).isEmpty());

        coordinator.close();
        startCoordinator(verify, prune, "-Dholdfast.coordinator.schedule.rebuild.every=24h");
        until(() -> scheduled(OperationKind.rebuild) == 1);
        ask("after-schedule", new Request.Stats(null));
        until(() -> peers.of(PublicEvent.Accepted.class, a -> a.requestId().equals("after-schedule"))
                        .size()
                == 1);

        assertThat(scheduled(OperationKind.verify)).isEqualTo(1);
        assertThat(scheduled(OperationKind.prune)).isEqualTo(1);
        assertThat(peers.invalid).isEmpty();
    }

    /** Operations of that kind that were accepted because the clock asked for them. */
    private static long scheduled(OperationKind kind) {
        return peers.of(
                        PublicEvent.Accepted.class,
                        a -> a.kind() == kind && a.requestSource().equals(Schedule.SOURCE))
                .size();
    }

    @Test
    void givenReportsOfManyVms_whenACheckpointIsTaken_recordsOfSeveralMiBGoThroughEveryTopic() throws Exception {
        ask("big-1", new Request.Deploy(Fixture.spec("big", 1, Map.of()), null));
        until(() -> !peers.of(
                        PublicEvent.DeployCompleted.class, e -> e.instance().equals("big"))
                .isEmpty());
        peers.made =
                r -> r instanceof Report.Archived a && "big".equals(a.header().instance())
                        ? new Report.Archived(
                                a.header(),
                                IntStream.range(0, 25_000)
                                        .mapToObj(i -> new VmArchive(
                                                "vm-" + i, "vms/big/vm-" + i + ".json", "%064x".formatted(i)))
                                        .toList(),
                                a.figures())
                        : r;

        ask("big-2", new Request.Checkpoint("big", null));
        until(() -> !peers.of(
                        PublicEvent.CheckpointCompleted.class, e -> e.instance().equals("big"))
                .isEmpty());
        peers.made = r -> r;

        var done = peers.of(
                        PublicEvent.CheckpointCompleted.class, e -> e.instance().equals("big"))
                .getFirst();
        until(() -> status("/api/v1/checkpoints/" + done.checkpoint()) == 200);
        assertThat(text("/api/v1/checkpoints/" + done.checkpoint())).hasSizeGreaterThan(3 << 20);
        ProcessKit.kill(coordinator.ids());
        startCoordinator(); // and journal and catalog are read again
        until(() -> status("/api/v1/checkpoints/" + done.checkpoint()) == 200);
        assertThat(get("/api/v1/operations?instance=big").size()).isEqualTo(2);
        assertThat(peers.invalid).isEmpty();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.bootstrapServers()))) {
            for (String topic : List.of(
                    Topics.REQUESTS,
                    Topics.COMMANDS,
                    Topics.REPORTS,
                    Topics.EVENTS,
                    Topics.JOURNAL,
                    Topics.HOSTS,
                    Topics.CATALOG)) {
                var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                assertThat(admin.describeConfigs(List.of(resource))
                                .all()
                                .get()
                                .get(resource)
                                .get(TopicConfig.MAX_MESSAGE_BYTES_CONFIG)
                                .value())
                        .as(topic)
                        .isEqualTo(Integer.toString(EventCodec.MAX_RECORD_BYTES));
            }
        }
    }

    @Test
    void givenRepeatedRequestsAndReports_whenTheyCome_eachIsDoneOnce() throws Exception {
        peers.repeats = 3;
        for (int i = 0; i < 3; i++) {
            ask("twice-1", new Request.Deploy(Fixture.spec("twice", 2, Map.of()), null));
        }
        until(() -> !peers.of(
                        PublicEvent.DeployCompleted.class, e -> e.instance().equals("twice"))
                .isEmpty());
        for (int i = 0; i < 3; i++) {
            ask("twice-2", new Request.Checkpoint("twice", null));
        }
        until(() -> !peers.of(
                        PublicEvent.CheckpointCompleted.class, e -> e.instance().equals("twice"))
                .isEmpty());
        peers.repeats = 1;

        assertThat(peers
                        .of(PublicEvent.CheckpointCompleted.class, e -> e.instance()
                                .equals("twice"))
                        .stream()
                        .distinct())
                .hasSize(1);
        assertThat(peers.commands.stream()
                        .filter(c -> c instanceof Command.Cut
                                && c.header().instance().equals("twice"))
                        .map(c -> c.header().id())
                        .distinct())
                .hasSize(2);
        assertThat(get("/api/v1/operations?instance=twice").size()).isEqualTo(2);
    }

    @Test
    void givenTheRestInterface_whenItIsUsedWrongly_errorsSayWhy() throws Exception {
        assertThat(post("/api/v1/requests/dance", "{}", 404).path("problems")).hasSize(1);
        assertThat(post("/api/v1/requests/deploy", "no json", 400).path("problems"))
                .hasSize(1);
        assertThat(post("/api/v1/specs/validate", "name: X\nvms: []\n", 400).path("problems"))
                .isNotEmpty();
        assertThat(post("/api/v1/specs/validate", "name: x\nvms:\n- name: a\n  memory: 256MiB\n  kernel: /k\n", 200)
                        .path("spec")
                        .path("vms")
                        .path(0)
                        .path("machine")
                        .asText())
                .isEqualTo("pc-q35-9.0");
        assertThat(status("/api/v1/nothing")).isEqualTo(404);
    }

    // ---- helpers

    private static CheckpointManifest manifest(Instant takenAt) {
        var spec = Fixture.spec("other", 1, Map.of());
        var layout = new InstanceLayout(
                "other", spec, List.of(new InstanceLayout.HostPart("h1", "10.0.0.1", List.of("a"))), Map.of("lan", 77));
        return new CheckpointManifest(
                1, "cp-other", "other", null, takenAt, layout, List.of(), List.of(), new CutFigures(List.of()));
    }

    private static void ask(String id, Request request) {
        peers.publish(
                Topics.REQUESTS,
                "k",
                EventCodec.encode(id, URI.create("/test"), null, request, Instant.now(), Map.of()));
    }

    private static ConditionFactory soon() {
        return await().atMost(Duration.ofSeconds(90))
                .pollInterval(Duration.ofMillis(100))
                .ignoreExceptions();
    }

    private static void until(Callable<Boolean> condition) {
        try {
            soon().until(condition);
        } catch (ConditionTimeoutException e) {
            throw new AssertionError(
                    "did not come true; refused or failed: " + peers.of(PublicEvent.Rejected.class, r -> true)
                            + peers.of(PublicEvent.Failed.class, f -> true) + "; last commands: "
                            + peers.commands.reversed().stream().limit(5).toList() + "; peers: " + peers.invalid,
                    e);
        }
    }

    private static HttpResponse<String> send(HttpRequest.Builder b) throws IOException, InterruptedException {
        return HTTP.send(b.timeout(Duration.ofSeconds(30)).build(), HttpResponse.BodyHandlers.ofString());
    }

    private static URI uri(String path) {
        return URI.create("http://127.0.0.1:" + port + path);
    }

    private static int status(String path) throws IOException, InterruptedException {
        return send(HttpRequest.newBuilder(uri(path))).statusCode();
    }

    private static String text(String path) throws IOException, InterruptedException {
        return send(HttpRequest.newBuilder(uri(path))).body();
    }

    private static JsonNode get(String path) throws IOException, InterruptedException {
        return EventCodec.json().readTree(text(path));
    }

    private static JsonNode post(String path, String body, int status) throws IOException, InterruptedException {
        var r = send(HttpRequest.newBuilder(uri(path))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body)));
        assertThat(r.statusCode()).as(r.body()).isEqualTo(status);
        return EventCodec.json().readTree(r.body());
    }
}
