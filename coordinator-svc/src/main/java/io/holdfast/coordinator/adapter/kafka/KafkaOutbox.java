package io.holdfast.coordinator.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.coordinator.app.Engine;
import io.holdfast.coordinator.app.EventLog;
import io.holdfast.coordinator.domain.Effect;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.EventType;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.view.EventLine;
import io.smallrye.reactive.messaging.kafka.api.OutgoingKafkaRecordMetadata;
import jakarta.enterprise.context.ApplicationScoped;
import java.net.URI;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.eclipse.microprofile.reactive.messaging.Channel;
import org.eclipse.microprofile.reactive.messaging.Emitter;
import org.eclipse.microprofile.reactive.messaging.Message;
import org.eclipse.microprofile.reactive.messaging.Metadata;
import org.eclipse.microprofile.reactive.messaging.OnOverflow;

/** Records out. */
@ApplicationScoped
public class KafkaOutbox implements Engine.Outbox {
    /** CloudEvents source of all that the coordinator says. */
    public static final URI SOURCE = URI.create("/holdfast/coordinator");

    /** CloudEvents source of requests that came in by REST. */
    public static final URI REST_SOURCE = URI.create("/holdfast/rest");

    private final Emitter<byte[]> journal;
    private final Emitter<byte[]> commands;
    private final Emitter<byte[]> events;
    private final Emitter<byte[]> catalog;
    private final Emitter<byte[]> requests;
    private final EventLog log;

    KafkaOutbox(
            @Channel("journal") @OnOverflow(OnOverflow.Strategy.UNBOUNDED_BUFFER) Emitter<byte[]> journal,
            @Channel("commands") @OnOverflow(OnOverflow.Strategy.UNBOUNDED_BUFFER) Emitter<byte[]> commands,
            @Channel("events") @OnOverflow(OnOverflow.Strategy.UNBOUNDED_BUFFER) Emitter<byte[]> events,
            @Channel("catalog-out") @OnOverflow(OnOverflow.Strategy.UNBOUNDED_BUFFER) Emitter<byte[]> catalog,
            @Channel("requests-out") @OnOverflow(OnOverflow.Strategy.UNBOUNDED_BUFFER) Emitter<byte[]> requests,
            EventLog log) {
        this.journal = journal;
        this.commands = commands;
        this.events = events;
        this.catalog = catalog;
        this.requests = requests;
        this.log = log;
    }

    @Override
    public CompletableFuture<Void> journal(Effect.Journal record) {
        return send(journal, record.key(), JournalCodec.encode(record));
    }

    /** Writes the epoch that this coordinator takes. */
    CompletableFuture<Void> takeEpoch(long epoch) {
        return send(journal, JournalCodec.EPOCH_KEY, JournalCodec.bytes(new JournalCodec.Epoch(epoch)));
    }

    @Override
    public CompletableFuture<Void> carryOut(Effect effect, Instant now) {
        return switch (effect) {
            case Effect.Journal j -> journal(j);
            case Effect.Send s ->
                send(
                        commands,
                        s.command().header().host(),
                        EventCodec.encode(
                                s.command().header().id(),
                                SOURCE,
                                s.command().header().operation(),
                                s.command(),
                                now,
                                s.trace()));
            case Effect.Publish p -> {
                CloudEvent event = EventCodec.encode(p.id(), SOURCE, p.subject(), p.event(), now, p.trace());
                String key = p.event().instance() == null && !(p.event() instanceof PublicEvent.Rejected)
                        ? p.subject()
                        : p.event().instance();
                yield send(events, key, event)
                        .thenRun(() -> log.add(
                                p.event(),
                                new EventLine(
                                        EventType.of(p.event()).typeName(),
                                        p.id(),
                                        now,
                                        p.subject(),
                                        EventCodec.json().valueToTree(p.event()))));
            }
            case Effect.Catalog c ->
                send(catalog, c.checkpoint().checkpoint(), CatalogCodec.encode(c.checkpoint(), SOURCE));
            case Effect.Uncatalog u -> send(catalog, u.checkpoint(), (byte[]) null);
        };
    }

    /** Publishes a request that came in by REST, exactly as any other client would. */
    public CompletableFuture<Void> request(CloudEvent event, String instance) {
        return send(requests, instance, event);
    }

    private static CompletableFuture<Void> send(Emitter<byte[]> to, String key, CloudEvent event) {
        ProducerRecord<String, byte[]> r = EventCodec.record("unused", key, event);
        return send(
                to,
                r.value(),
                OutgoingKafkaRecordMetadata.<String>builder()
                        .withKey(key)
                        .withHeaders(r.headers())
                        .withTimestamp(event.getTime().toInstant())
                        .build());
    }

    private static CompletableFuture<Void> send(Emitter<byte[]> to, String key, byte[] value) {
        return send(
                to,
                value,
                OutgoingKafkaRecordMetadata.<String>builder().withKey(key).build());
    }

    private static CompletableFuture<Void> send(
            Emitter<byte[]> to, byte[] value, OutgoingKafkaRecordMetadata<String> metadata) {
        var done = new CompletableFuture<Void>();
        to.send(Message.of(
                value,
                Metadata.of(metadata),
                () -> {
                    done.complete(null);
                    return CompletableFuture.completedFuture(null);
                },
                cause -> {
                    done.completeExceptionally(cause);
                    return CompletableFuture.completedFuture(null);
                }));
        return done;
    }
}
