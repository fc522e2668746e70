package io.holdfast.agent.adapter.kafka;

import static org.assertj.core.api.Assertions.assertThat;

import io.cloudevents.CloudEvent;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Topics;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import io.quarkus.test.common.WithTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.BiPredicate;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.eclipse.microprofile.config.ConfigProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The agent's Kafka side against a real broker. */
@QuarkusTest
@WithTestResource(BrokerResource.class)
@Timeout(120)
class KafkaAdapterIT {
    private static final URI COORDINATOR = URI.create("/holdfast/coordinator");

    private static String broker() {
        return ConfigProvider.getConfig().getValue("kafka.bootstrap.servers", String.class);
    }

    private static Command.Header header(String operation, String phase) {
        return new Command.Header(operation, "shop", "h1", phase, 1, 1);
    }

    private static InstanceLayout layout() {
        VmSpec vm = new VmSpec(
                "a",
                1,
                "64MiB",
                Hugepages.off,
                "qemu64",
                "pc-q35-9.0",
                Accelerator.tcg,
                null,
                "/boot/vmlinuz",
                null,
                "",
                List.of(),
                List.of(new NicSpec("lan", "52:54:00:00:00:01")),
                true);
        return new InstanceLayout(
                "shop",
                new NetworkSpec("shop", List.of(new SegmentSpec("lan", 1450)), List.of(vm), Map.of()),
                List.of(new InstanceLayout.HostPart("h1", "10.0.0.1", List.of("a"))),
                Map.of("lan", 77));
    }

    private static ProducerRecord<String, byte[]> record(Command command, Map<String, String> extensions) {
        return EventCodec.record(
                BrokerResource.PREFIX + Topics.COMMANDS,
                command.header().host(),
                EventCodec.encode(
                        command.header().id(),
                        COORDINATOR,
                        command.header().operation(),
                        command,
                        Instant.now(),
                        extensions));
    }

    private static void send(List<ProducerRecord<String, byte[]>> records) throws Exception {
        try (KafkaProducer<String, byte[]> producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", broker(), "acks", "all"),
                new StringSerializer(),
                new ByteArraySerializer())) {
            for (ProducerRecord<String, byte[]> r : records) {
                producer.send(r).get();
            }
        }
    }

    @TestHTTPResource
    URI http;

    @Test
    void healthAndMetrics_areServed() throws Exception {
        // Given: a command has ended
        refuseOne();
        try (HttpClient client = HttpClient.newHttpClient()) {
            // When
            HttpResponse<String> health = get(client, "/q/health");
            HttpResponse<String> metrics = get(client, "/q/metrics");
            // Then
            assertThat(health.statusCode()).as(health.body()).isEqualTo(200);
            assertThat(health.body()).contains("takeover", "heartbeats");
            assertThat(metrics.body()).contains("holdfast_agent_commands_seconds_count", "UNKNOWN_INSTANCE");
        }
    }

    private HttpResponse<String> get(HttpClient client, String path) throws Exception {
        return client.send(HttpRequest.newBuilder(http.resolve(path)).build(), HttpResponse.BodyHandlers.ofString());
    }

    private record Seen(ConsumerRecord<String, byte[]> record, CloudEvent event, Object data) {}

    private static Seen await(String topic, BiPredicate<CloudEvent, Object> wanted) throws InvalidEventException {
        try (KafkaConsumer<String, byte[]> consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", broker()), new StringDeserializer(), new ByteArrayDeserializer())) {
            TopicPartition partition = new TopicPartition(BrokerResource.PREFIX + topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            Instant limit = Instant.now().plusSeconds(60);
            while (Instant.now().isBefore(limit)) {
                for (ConsumerRecord<String, byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    CloudEvent event = EventCodec.read(r.headers(), r.value());
                    Object data = EventCodec.decode(event);
                    if (wanted.test(event, data)) {
                        return new Seen(r, event, data);
                    }
                }
            }
        }
        throw new AssertionError("nothing fitting came on " + topic);
    }

    @Test
    void commandAmongPoison_isDoneAndReported() throws Exception {
        // Given
        String topic = BrokerResource.PREFIX + Topics.COMMANDS;
        Command.Deploy deploy = new Command.Deploy(header("op-1", "deploy"), layout());
        ProducerRecord<String, byte[]> broken = record(deploy, Map.of());
        ProducerRecord<String, byte[]> badData = new ProducerRecord<>(
                topic,
                null,
                null,
                "h1",
                "{\"header\":".getBytes(java.nio.charset.StandardCharsets.UTF_8),
                broken.headers());
        ProducerRecord<String, byte[]> noHeader = new ProducerRecord<>(
                topic, null, null, "h1", "{}".getBytes(java.nio.charset.StandardCharsets.UTF_8), broken.headers());
        String trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        // When
        send(List.of(
                new ProducerRecord<>(topic, "h1", "rubbish".getBytes(java.nio.charset.StandardCharsets.UTF_8)),
                new ProducerRecord<>(topic, "h1", null),
                badData,
                noHeader,
                record(deploy, Map.of("traceparent", trace))));
        // Then
        Seen seen = await(Topics.REPORTS, (e, d) -> d instanceof Report.Deployed);
        assertThat(seen.record().key()).isEqualTo("op-1");
        assertThat(seen.event().getId()).isEqualTo("op-1/h1/deploy/1/done");
        assertThat(seen.event().getExtension("traceparent")).isEqualTo(trace);
        assertThat(((Report.Deployed) seen.data()).vms()).hasSize(1);
    }

    @Test
    void refusedCommand_isReportedWithItsCode() throws Exception {
        // When
        Report.Failed failed = refuseOne();
        // Then
        assertThat(failed.code()).isEqualTo(ErrorCode.UNKNOWN_INSTANCE);
    }

    private static Report.Failed refuseOne() throws Exception {
        String operation = "op-" + UUID.randomUUID();
        Command.Cut cut = new Command.Cut(
                new Command.Header(operation, "nobody", "h1", "cut", 1, 1), "cp-20260101t000000z-abcdef", 1);
        send(List.of(record(cut, Map.of())));
        Seen seen = await(
                Topics.REPORTS,
                (e, d) -> d instanceof Report.Failed f && f.header().operation().equals(operation));
        return (Report.Failed) seen.data();
    }

    @Test
    void heartbeat_comesUnderTheHostsKey() throws Exception {
        // When
        Seen seen = await(Topics.HOSTS, (e, d) -> d instanceof Heartbeat.Agent);
        // Then
        assertThat(seen.record().key()).isEqualTo("agent/h1");
        assertThat(((Heartbeat.Agent) seen.data()).memoryBytes()).isPositive();
    }
}
