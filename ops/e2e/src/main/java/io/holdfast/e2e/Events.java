package io.holdfast.e2e;

import io.cloudevents.CloudEvent;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.EventValidator;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.event.Topics;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A stock Kafka client that publishes requests and reads every topic of events, as any other system could. It checks each
 * record that it sees against the contract. Thread-safe.
 */
public final class Events implements AutoCloseable {
    private static final List<String> TOPICS =
            List.of(Topics.REQUESTS, Topics.COMMANDS, Topics.REPORTS, Topics.EVENTS, Topics.HOSTS);
    private static final int KEPT = 200_000;

    /** Held, so that its level stays: Kafka's clients tell their settings at INFO. */
    private static final Logger KAFKA_LOG = Logger.getLogger("org.apache.kafka");

    static {
        KAFKA_LOG.setLevel(Level.WARNING);
    }

    private final String bootstrap;
    private final URI source;
    private final KafkaProducer<String, byte[]> producer;
    private final KafkaConsumer<String, byte[]> consumer;
    private final List<Seen> seen = new CopyOnWriteArrayList<>();
    private final List<String> invalid = new CopyOnWriteArrayList<>();
    private final List<Consumer<Seen>> listeners = new CopyOnWriteArrayList<>();
    private final Thread reader;

    /**
     * A record as it was on the wire.
     *
     * @param data its data as a record of the contract
     */
    public record Seen(String topic, String key, CloudEvent event, Object data) {}

    /**
     * Begins to read, from the end of each topic.
     *
     * @param source CloudEvents source of the requests that {@link #publish} sends
     */
    public Events(String bootstrap, URI source) {
        this.bootstrap = bootstrap;
        this.source = source;
        this.producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap, "acks", "all", "linger.ms", "0"),
                new StringSerializer(),
                new ByteArraySerializer());
        this.consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", bootstrap, "fetch.max.wait.ms", "50", "enable.auto.commit", "false"),
                new StringDeserializer(),
                new ByteArrayDeserializer());
        List<TopicPartition> partitions = TOPICS.stream()
                .flatMap(t -> consumer.partitionsFor(t, Duration.ofSeconds(20)).stream())
                .map(p -> new TopicPartition(p.topic(), p.partition()))
                .toList();
        consumer.assign(partitions);
        consumer.seekToEnd(partitions);
        partitions.forEach(consumer::position); // seeking is lazy: now is the end
        reader = Thread.ofPlatform().daemon().name("events").start(this::read);
    }

    /** Id of the operation that a request becomes. */
    public String operation(String requestId) {
        try {
            byte[] hash = MessageDigest.getInstance("SHA-256")
                    .digest((source + "\n" + requestId).getBytes(StandardCharsets.UTF_8));
            return "op-" + HexFormat.of().formatHex(hash, 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * Publishes a request as a CloudEvent in binary mode.
     *
     * @param requestId the event's id; the same id again is the same request
     * @return id of the operation
     */
    public String publish(Request request, String requestId) {
        CloudEvent event = EventCodec.encode(requestId, source, null, request, Instant.now(), Map.of());
        send(EventCodec.record(Topics.REQUESTS, request.instance(), event));
        return operation(requestId);
    }

    /** Publishes a record as it is. */
    public void send(ProducerRecord<String, byte[]> kafkaRecord) {
        try {
            producer.send(kafkaRecord).get();
        } catch (ExecutionException e) {
            throw new IllegalStateException("Kafka at " + bootstrap + " did not take a record", e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }

    /** The same request with kcat. */
    public String kcat(Request request, String requestId) {
        try {
            return "echo '" + EventCodec.json().writeValueAsString(request) + "' | kcat -P -b " + bootstrap + " -t "
                    + Topics.REQUESTS + " -k " + request.instance()
                    + " -H ce_specversion=1.0 -H ce_id=" + requestId + " -H ce_source=" + source + " -H ce_type="
                    + EventType.of(request).typeName() + " -H content-type=application/json";
        } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** Calls for every record from now on, on the reader's thread. */
    public void listen(Consumer<Seen> listener) {
        listeners.add(listener);
    }

    /** Everything seen so far. */
    public List<Seen> seen() {
        return seen;
    }

    /** What the contract says is wrong with records seen so far; empty when nothing. */
    public List<String> invalid() {
        return invalid;
    }

    /** Public events of an operation so far, by its id as subject or in the data. */
    public List<PublicEvent> of(String operation) {
        List<PublicEvent> all = new ArrayList<>();
        for (Seen s : seen) {
            if (s.data() instanceof PublicEvent e && operation.equals(s.event().getSubject())) {
                all.add(e);
            }
        }
        return all;
    }

    /** Waits for the event that ends an operation. */
    public PublicEvent awaitEnd(String operation, Duration limit) {
        Await.until(
                () -> "the end of " + operation + "; seen of it: " + of(operation), limit, () -> of(operation).stream()
                        .anyMatch(Events::isEnd));
        return of(operation).stream().filter(Events::isEnd).findFirst().orElseThrow();
    }

    /** Whether an event ends its operation. */
    public static boolean isEnd(PublicEvent e) {
        return switch (e) {
            case PublicEvent.Accepted a -> false;
            case PublicEvent.Progressed p -> false;
            case PublicEvent.VmExited v -> false;
            case PublicEvent.Rejected r -> true;
            case PublicEvent.Failed f -> true;
            case PublicEvent.DeployCompleted d -> true;
            case PublicEvent.CheckpointCompleted c -> true;
            case PublicEvent.RestoreCompleted r -> true;
            case PublicEvent.DestroyCompleted d -> true;
            case PublicEvent.OfRepository r -> true;
        };
    }

    /** Waits for a record. */
    public Seen await(String what, Duration limit, Predicate<Seen> wanted) {
        Await.until(what, limit, () -> seen.stream().anyMatch(wanted));
        return seen.stream().filter(wanted).findFirst().orElseThrow();
    }

    private void read() {
        try {
            while (true) {
                for (ConsumerRecord<String, byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    take(r);
                }
            }
        } catch (WakeupException e) {
            consumer.close();
        }
    }

    private void take(ConsumerRecord<String, byte[]> r) {
        if (r.value() == null) {
            return; // a tombstone of a compacted topic
        }
        try {
            CloudEvent event = EventCodec.read(r.headers(), r.value());
            Seen s = new Seen(r.topic(), r.key(), event, EventCodec.decode(event));
            if (!r.topic().equals(Topics.REQUESTS)) { // a bad request is its sender's fault, and may be a test
                EventValidator.problems(event).forEach(p -> invalid.add(r.topic() + " " + event.getType() + ": " + p));
            }
            if (seen.size() < KEPT && !r.topic().equals(Topics.HOSTS)) {
                seen.add(s);
            }
            listeners.forEach(l -> l.accept(s));
        } catch (InvalidEventException e) {
            if (!r.topic().equals(Topics.REQUESTS)) {
                invalid.add(r.topic() + " at offset " + r.offset() + ": " + e.getMessage());
            }
        }
    }

    @Override
    public void close() {
        consumer.wakeup();
        try {
            reader.join(5000);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        producer.close(Duration.ofSeconds(5));
    }
}
