package io.holdfast.agent.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.agent.app.HostAgent;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.smallrye.reactive.messaging.annotations.Blocking;
import jakarta.enterprise.context.ApplicationScoped;
import java.time.Instant;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.eclipse.microprofile.reactive.messaging.Incoming;
import org.jboss.logging.Logger;

/**
 * Takes commands from the channel {@code commands}. A record is acknowledged when this returns: then the command is in
 * the host's journal, or is none of this host's business, or is poison (logged, passed over).
 */
@ApplicationScoped
public class CommandSource {
    /** CloudEvents extension attribute of the trace context (CloudEvents distributed tracing extension). */
    static final String TRACEPARENT = "traceparent";

    private static final Logger LOG = Logger.getLogger(CommandSource.class);
    private final HostAgent agent;

    CommandSource(HostAgent agent) {
        this.agent = agent;
    }

    /** One record. Never throws. */
    @Incoming("commands")
    @Blocking
    public void record(ConsumerRecord<String, byte[]> record) {
        try {
            CloudEvent event = EventCodec.read(record.headers(), record.value());
            if (EventCodec.decode(event) instanceof Command.ForAgent command) {
                Instant sent = event.getTime() == null
                        ? Instant.ofEpochMilli(record.timestamp())
                        : event.getTime().toInstant();
                Object trace = event.getExtension(TRACEPARENT);
                agent.accept(command, sent, trace == null ? null : trace.toString());
            }
        } catch (InvalidEventException | RuntimeException e) {
            LOG.errorf(
                    e,
                    "event=poison-record topic=%s partition=%d offset=%d",
                    record.topic(),
                    record.partition(),
                    record.offset());
        }
    }
}
