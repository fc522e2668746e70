package io.holdfast.agent.adapter.kafka;

import io.holdfast.devstack.KafkaBroker;
import io.holdfast.schemas.event.Topics;
import io.quarkus.test.common.QuarkusTestResourceLifecycleManager;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/** A real broker with the topics that the coordinator would have made. */
public class BrokerResource implements QuarkusTestResourceLifecycleManager {
    static final String PREFIX = "it.";
    private Path folder;
    private KafkaBroker broker;

    @Override
    public Map<String, String> start() {
        try {
            folder = Files.createTempDirectory("hft-a-");
            broker = KafkaBroker.start(folder.resolve("broker"), 0);
            try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.bootstrapServers()))) {
                List<NewTopic> topics = Stream.of(Topics.COMMANDS, Topics.REPORTS, Topics.HOSTS)
                        .map(t -> new NewTopic(PREFIX + t, 1, (short) 1))
                        .toList();
                admin.createTopics(topics).all().get();
            }
            return Map.of(
                    "kafka.bootstrap.servers",
                    broker.bootstrapServers(),
                    "holdfast.topic-prefix",
                    PREFIX,
                    "holdfast.agent.host",
                    "h1",
                    "holdfast.agent.underlay",
                    "10.0.0.1",
                    "holdfast.agent.state-dir",
                    folder.resolve("state").toString(),
                    "holdfast.agent.image-dir",
                    folder.resolve("images").toString(),
                    "quarkus.http.test-port",
                    "0");
        } catch (IOException | ExecutionException e) {
            throw new IllegalStateException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void stop() {
        if (broker != null) {
            broker.close();
        }
        if (folder != null) {
            try (Stream<Path> all = Files.walk(folder)) {
                for (Path p : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
                    Files.deleteIfExists(p);
                }
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }
    }
}
