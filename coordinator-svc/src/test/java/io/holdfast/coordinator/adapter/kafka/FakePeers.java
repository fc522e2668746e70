package io.holdfast.coordinator.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.coordinator.domain.Fixture;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.EventValidator;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Topics;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Host agents and storage services as plain Kafka clients, and an ear on the public events. */
final class FakePeers implements AutoCloseable {
    private final List<String> hosts;
    private final KafkaProducer<String, byte[]> producer;
    private final Map<String, Object> consumerConfig;
    private final Map<String, Set<String>> vms = new ConcurrentHashMap<>(); // host/instance -> VMs
    private final Thread worker;
    private final Thread heart;
    private volatile boolean stopped;

    /** Commands that are not answered while this holds. */
    volatile Predicate<Command> silent = c -> false;
    /** Every answer is sent that often. */
    volatile int repeats = 1;

    /** What is made of each answer before it is sent. */
    volatile UnaryOperator<Report> made = r -> r;

    final List<Command> commands = new CopyOnWriteArrayList<>();
    final List<CloudEvent> events = new CopyOnWriteArrayList<>();
    final List<String> invalid = new CopyOnWriteArrayList<>();
    private final List<Command> withheld = new CopyOnWriteArrayList<>();

    FakePeers(String bootstrap, List<String> hosts) {
        this.hosts = hosts;
        producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap, "linger.ms", 0, "max.request.size", EventCodec.MAX_RECORD_BYTES),
                new StringSerializer(),
                new ByteArraySerializer());
        consumerConfig = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest");
        worker = Thread.ofPlatform().name("peers").daemon().start(this::work);
        heart = Thread.ofPlatform().name("hearts").daemon().start(this::beat);
    }

    /** Publishes a CloudEvent as any client could. */
    void publish(String topic, String key, CloudEvent event) {
        send(EventCodec.record(topic, key, event));
    }

    void send(ProducerRecord<String, byte[]> r) {
        var unused = producer.send(r);
        producer.flush();
    }

    /** Answers what was withheld, once. */
    void answerWithheld() {
        for (Command c : withheld) {
            answer(c);
        }
        withheld.clear();
    }

    private void work() {
        try (var consumer =
                new KafkaConsumer<>(consumerConfig, new StringDeserializer(), new ByteArrayDeserializer())) {
            var partitions = List.of(new TopicPartition(Topics.COMMANDS, 0), new TopicPartition(Topics.EVENTS, 0));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (!stopped) {
                for (var r : consumer.poll(Duration.ofMillis(100))) {
                    try {
                        CloudEvent event = EventCodec.read(r.headers(), r.value());
                        EventValidator.problems(event).forEach(p -> invalid.add(event.getType() + ": " + p));
                        Object data = EventCodec.decode(event);
                        if (data instanceof Command c) {
                            commands.add(c);
                            if (silent.test(c)) {
                                withheld.add(c);
                            } else {
                                answer(c);
                            }
                        } else {
                            events.add(event);
                        }
                    } catch (InvalidEventException e) {
                        invalid.add(String.valueOf(e.problems()));
                    }
                }
            }
        } catch (RuntimeException e) {
            invalid.add("the peers ended: " + e);
        }
    }

    private void answer(Command c) {
        String key = c.header().host() + "/" + c.header().instance();
        switch (c) {
            case Command.Deploy d -> vms.put(key, names(d.layout(), c.header().host()));
            case Command.Load l -> vms.put(key, names(l.layout(), c.header().host()));
            case Command.Destroy d -> vms.remove(key);
            default -> {}
        }
        var names = c instanceof Command.Archive a
                ? a.vms()
                : vms.getOrDefault(key, Set.of()).stream().sorted().toList();
        for (Report plain : Fixture.answers(c, names)) {
            Report r = made.apply(plain);
            for (int i = 0; i < repeats; i++) {
                CloudEvent event = EventCodec.encode(
                        r.header().id(),
                        URI.create("/holdfast/agent/" + r.header().host()),
                        r.header().operation(),
                        r,
                        Instant.now(),
                        Map.of());
                publish(Topics.REPORTS, r.header().operation(), event);
            }
        }
    }

    private static Set<String> names(InstanceLayout layout, String host) {
        return new HashSet<>(layout.part(host).vms());
    }

    private void beat() {
        while (!stopped) {
            for (String h : hosts) {
                var list = new ArrayList<Heartbeat.InstanceState>();
                vms.forEach((key, names) -> {
                    if (key.startsWith(h + "/")) {
                        list.add(new Heartbeat.InstanceState(
                                key.substring(h.length() + 1),
                                names.stream()
                                        .map(v -> Fixture.vm(v, "running"))
                                        .toList()));
                    }
                });
                beat("agent/" + h, Fixture.agent(h, 8 * Fixture.GIB, list));
                beat("storage/" + h, Fixture.storage(h));
            }
            java.util.concurrent.locks.LockSupport.parkNanos(
                    Duration.ofMillis(500).toNanos());
        }
    }

    private void beat(String key, Heartbeat h) {
        publish(
                Topics.HOSTS,
                key,
                EventCodec.encode(key, URI.create("/holdfast/" + key), null, h, Instant.now(), Map.of()));
    }

    /** Data of the events of a type that are about an instance. */
    <T> List<T> of(Class<T> type, Predicate<T> which) {
        return events.stream()
                .filter(e -> EventType.named(e.getType())
                        .map(t -> t.dataClass() == type)
                        .orElse(false))
                .map(e -> {
                    try {
                        return type.cast(EventCodec.decode(e));
                    } catch (InvalidEventException x) {
                        throw new AssertionError(x);
                    }
                })
                .filter(which)
                .toList();
    }

    @Override
    public void close() throws InterruptedException {
        stopped = true;
        worker.join(Duration.ofSeconds(10));
        heart.join(Duration.ofSeconds(10));
        producer.close(Duration.ofSeconds(5));
    }
}
