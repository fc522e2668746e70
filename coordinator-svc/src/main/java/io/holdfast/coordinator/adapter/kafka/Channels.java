package io.holdfast.coordinator.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.coordinator.app.Engine;
import io.holdfast.coordinator.app.Metrics;
import io.holdfast.coordinator.domain.Input;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Report;
import io.micrometer.core.instrument.MeterRegistry;
import io.smallrye.reactive.messaging.kafka.api.IncomingKafkaRecordMetadata;
import jakarta.enterprise.context.ApplicationScoped;
import java.time.Instant;
import java.util.concurrent.CompletionStage;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.eclipse.microprofile.reactive.messaging.Incoming;
import org.eclipse.microprofile.reactive.messaging.Message;
import org.jboss.logging.Logger;

/**
 * Records in. Each becomes an input of the engine and is acknowledged once what came of it is journalled and published;
 * a record that cannot be read is logged, counted and acknowledged.
 */
@ApplicationScoped
public class Channels {
    private static final Logger LOG = Logger.getLogger(Channels.class);

    private final Engine engine;
    private final MeterRegistry meters;

    Channels(Engine engine, MeterRegistry meters) {
        this.engine = engine;
        this.meters = meters;
    }

    /** Requests of other systems. */
    @Incoming("requests")
    CompletionStage<Void> request(Message<byte[]> message) {
        Where at = Where.of(message);
        return handle(message, RequestReader.read(at.headers(), message.getPayload(), at.position()));
    }

    /** Reports of hosts. */
    @Incoming("reports")
    CompletionStage<Void> report(Message<byte[]> message) {
        Where at = Where.of(message);
        try {
            Object data = EventCodec.decode(EventCodec.read(at.headers(), message.getPayload()));
            if (data instanceof Report r && isComplete(r.header())) {
                return handle(message, new Input.Reported(r));
            }
            return skip(message, at, "not a report");
        } catch (InvalidEventException | RuntimeException e) {
            return skip(message, at, e);
        }
    }

    private static boolean isComplete(Report.Header h) {
        return h != null && h.operation() != null && h.host() != null && h.phase() != null;
    }

    /** Heartbeats of hosts. */
    @Incoming("hosts")
    CompletionStage<Void> heartbeat(Message<byte[]> message) {
        Where at = Where.of(message);
        if (message.getPayload() == null) {
            return message.ack();
        }
        try {
            CloudEvent event = EventCodec.read(at.headers(), message.getPayload());
            if (EventCodec.decode(event) instanceof Heartbeat h && h.host() != null) {
                return handle(message, new Input.Beat(h, timeOf(event, at.timestamp())));
            }
            return skip(message, at, "not a heartbeat");
        } catch (InvalidEventException | RuntimeException e) {
            return skip(message, at, e);
        }
    }

    /** The catalog, which others may write too. */
    @Incoming("catalog-in")
    CompletionStage<Void> catalog(Message<byte[]> message) {
        Where at = Where.of(message);
        try {
            if (message.getPayload() == null) {
                return at.key() == null ? message.ack() : handle(message, new Input.Uncataloged(at.key()));
            }
            return handle(message, new Input.Cataloged(CatalogCodec.decode(at.headers(), message.getPayload())));
        } catch (InvalidEventException | RuntimeException e) {
            return skip(message, at, e);
        }
    }

    private CompletionStage<Void> handle(Message<byte[]> message, Input input) {
        return engine.offer(input).thenCompose(v -> message.ack());
    }

    private CompletionStage<Void> skip(Message<byte[]> message, Where at, Object cause) {
        LOG.warnf("event=unreadable_record position=%s key=%s cause=%s", at.position(), at.key(), cause);
        meters.counter(Metrics.UNREADABLE_RECORDS, Metrics.TOPIC, at.topic()).increment();
        return message.ack();
    }

    /** The sender's time, or the record's. */
    static Instant timeOf(CloudEvent event, long recordMillis) {
        return event.getTime() == null
                ? Instant.ofEpochMilli(recordMillis)
                : event.getTime().toInstant();
    }

    private record Where(String topic, String position, String key, Headers headers, long timestamp) {
        static Where of(Message<byte[]> message) {
            var md = message.getMetadata(IncomingKafkaRecordMetadata.class).orElse(null);
            if (md == null) {
                return new Where("none", "none", null, new RecordHeaders(), 0);
            }
            return new Where(
                    md.getTopic(),
                    md.getTopic() + "/" + md.getPartition() + "/" + md.getOffset(),
                    md.getKey() instanceof String s ? s : null,
                    md.getHeaders(),
                    md.getTimestamp() == null ? 0 : md.getTimestamp().toEpochMilli());
        }
    }
}
