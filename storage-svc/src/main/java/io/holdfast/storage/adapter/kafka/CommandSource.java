package io.holdfast.storage.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.storage.config.StorageConfig;
import io.smallrye.reactive.messaging.annotations.Blocking;
import jakarta.enterprise.context.ApplicationScoped;
import java.time.Instant;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.eclipse.microprofile.reactive.messaging.Incoming;
import org.jboss.logging.Logger;

/**
 * Takes commands from the channel {@code commands}. A record is acknowledged when this returns: then the command is in
 * the service's journal, or is none of this host's business, or is poison (logged, passed over).
 */
@ApplicationScoped
public class CommandSource {
    private static final Logger LOG = Logger.getLogger(CommandSource.class);
    private final StorageService service;
    private final StorageConfig config;

    CommandSource(StorageService service, StorageConfig config) {
        this.service = service;
        this.config = config;
    }

    /** One record. Never throws. */
    @Incoming("commands")
    @Blocking
    public void record(ConsumerRecord<String, byte[]> record) {
        try {
            CloudEvent event = EventCodec.read(record.headers(), record.value());
            Object data = EventCodec.decode(event);
            if (data instanceof Command.ForAgent command) {
                service.runner().accept(command); // it may end what is at work here
            }
            if (data instanceof Command.ForStorage command) {
                service.runner().accept(command, Instant.ofEpochMilli(record.timestamp()), config.commandMaxAge());
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
