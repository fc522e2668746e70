package io.holdfast.coordinator.adapter.kafka;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.holdfast.coordinator.app.Engine;
import io.holdfast.coordinator.app.EventLog;
import io.holdfast.coordinator.app.Meters;
import io.holdfast.coordinator.app.Schedule;
import io.holdfast.coordinator.config.CoordinatorConfig;
import io.holdfast.coordinator.domain.Decider;
import io.holdfast.coordinator.domain.Input;
import io.holdfast.coordinator.domain.State;
import io.holdfast.schemas.event.EventCodec;
import io.micrometer.core.instrument.MeterRegistry;
import io.quarkus.runtime.ShutdownEvent;
import io.quarkus.runtime.StartupEvent;
import jakarta.annotation.Priority;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;
import java.net.URI;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.eclipse.microprofile.config.ConfigProvider;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.jboss.logging.Logger;

/**
 * Brings the coordinator up: topics, replay of journal and catalog, a new epoch, then the engine. Waits for the broker
 * as long as it takes.
 */
@ApplicationScoped
public class Coordinator {
    private static final Logger LOG = Logger.getLogger(Coordinator.class);

    private final CoordinatorConfig config;
    private final String prefix;
    private volatile boolean stopping;

    Coordinator(
            CoordinatorConfig config, @ConfigProperty(name = "holdfast.topic-prefix") Optional<String> topicPrefix) {
        this.config = config;
        this.prefix = topicPrefix.orElse("");
    }

    /** The engine, not yet running. */
    @Produces
    @Singleton
    Engine engine(KafkaOutbox outbox, MeterRegistry registry) {
        var meters = new Meters(registry);
        var engine = new Engine(
                new Decider(config.settings()), outbox, meters, Clock.systemUTC(), config.tick(), config.retryPause());
        meters.watch(engine, config.hostAlive());
        return engine;
    }

    /** The latest events. */
    @Produces
    @Singleton
    EventLog eventLog() {
        return new EventLog(config.keptEvents());
    }

    /** The one JSON mapper, for REST too. */
    @Produces
    @Singleton
    ObjectMapper json() {
        return EventCodec.json();
    }

    /** Before the channels start: the topics have to be there, else their consumers look for them in vain. */
    void topics(@Observes @Priority(1) StartupEvent event) {
        untilItWorks("topics", () -> {
            try (Admin admin = Admin.create(client())) {
                TopicAdmin.create(admin, TopicAdmin.topics(prefix, config.topics()));
            }
            return null;
        });
    }

    /** After the channels have started: what they bring waits until the engine runs. */
    void start(@Observes @Priority(5000) StartupEvent event, Engine engine, KafkaOutbox outbox) {
        Thread.ofPlatform().name("replay").daemon().start(() -> {
            long begin = System.nanoTime();
            Replay.Result result = untilItWorks("replay", () -> {
                try (var consumer =
                        new KafkaConsumer<>(consumer(), new StringDeserializer(), new ByteArrayDeserializer())) {
                    return Replay.read(consumer, prefix);
                }
            });
            if (result == null) {
                return;
            }
            State read = result.state();
            long epoch = read.epoch() + 1;
            untilItWorks("epoch", () -> {
                outbox.takeEpoch(epoch).get(30, TimeUnit.SECONDS);
                return null;
            });
            if (stopping) {
                return;
            }
            for (Input.Beat beat : result.beats()) {
                var unused = engine.offer(beat);
            }
            engine.start(State.of(epoch, read.operations(), read.instances(), read.checkpoints()));
            LOG.infof(
                    "event=replayed epoch=%d operations=%d instances=%d checkpoints=%d hosts=%d unreadable=%d millis=%d",
                    epoch,
                    read.operations().size(),
                    read.instances().size(),
                    read.checkpoints().size(),
                    result.beats().size(),
                    result.unreadable(),
                    Duration.ofNanos(System.nanoTime() - begin).toMillis());
        });
    }

    /** Asks for what is due by the clock, as any client would. */
    void schedule(@Observes @Priority(6000) StartupEvent event, Engine engine, KafkaOutbox outbox) {
        var schedule = new Schedule(config.jobs());
        if (schedule.isEmpty()) {
            return;
        }
        Thread.ofPlatform().name("schedule").daemon().start(() -> {
            try {
                while (!stopping) {
                    TimeUnit.SECONDS.sleep(1);
                    if (engine.running()) {
                        for (Schedule.Due due : schedule.due(
                                engine.now(), op -> engine.state().operations().containsKey(op))) {
                            ask(due, outbox);
                        }
                    }
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
    }

    private static void ask(Schedule.Due due, KafkaOutbox outbox) throws InterruptedException {
        try {
            var event = EventCodec.encode(
                    due.requestId(), URI.create(Schedule.SOURCE), null, due.request(), Instant.now(), Map.of());
            outbox.request(event, "schedule").get(30, TimeUnit.SECONDS);
            LOG.infof("event=scheduled request=%s", due.requestId());
        } catch (ExecutionException | TimeoutException | RuntimeException e) {
            LOG.warnf("event=schedule_failed request=%s cause=%s", due.requestId(), e);
        }
    }

    void stop(@Observes ShutdownEvent event, Engine engine) {
        stopping = true;
        engine.close();
    }

    /** Tries until it works or the coordinator stops; null in the latter case. */
    private <T> T untilItWorks(String what, Callable<T> work) {
        while (!stopping) {
            try {
                return work.call();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return null;
            } catch (ExecutionException e) {
                LOG.warnf("event=waiting_for_broker step=%s cause=%s", what, e.getCause());
            } catch (Exception e) {
                LOG.warnf("event=waiting_for_broker step=%s cause=%s", what, e);
            }
            try {
                TimeUnit.MILLISECONDS.sleep(config.retryPause().toMillis());
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return null;
            }
        }
        return null;
    }

    private static Map<String, Object> consumer() {
        var map = client();
        map.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        map.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        map.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, "false");
        return map;
    }

    /** {@code kafka.*} of the configuration: address and security of the broker. */
    private static Map<String, Object> client() {
        var map = new HashMap<String, Object>();
        var all = ConfigProvider.getConfig();
        for (String name : all.getPropertyNames()) {
            if (name.startsWith("kafka.")) {
                all.getOptionalValue(name, String.class).ifPresent(v -> map.put(name.substring(6), v));
            }
        }
        map.keySet()
                .retainAll(java.util.stream.Stream.concat(
                                org.apache.kafka.clients.admin.AdminClientConfig.configNames().stream(),
                                ConsumerConfig.configNames().stream())
                        .toList());
        map.putIfAbsent(CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG, "localhost:9092");
        return map;
    }
}
