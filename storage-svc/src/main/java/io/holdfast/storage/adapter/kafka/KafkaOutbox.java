package io.holdfast.storage.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.Report;
import io.holdfast.storage.app.CommandRunner;
import io.smallrye.reactive.messaging.kafka.api.OutgoingKafkaRecordMetadata;
import jakarta.annotation.PreDestroy;
import jakarta.enterprise.context.ApplicationScoped;
import java.net.URI;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.eclipse.microprofile.reactive.messaging.Channel;
import org.eclipse.microprofile.reactive.messaging.Emitter;
import org.eclipse.microprofile.reactive.messaging.Message;
import org.jboss.logging.Logger;

/**
 * Sends reports to the channel {@code reports} one after the other, each again and again until the broker has it (progress
 * only once), and heartbeats to {@code hosts}, one at a time. An end report that was not sent when the service ends is in
 * the command journal: the coordinator gets it by repeating the command. In the place of a report that the broker never takes, because it is too
 * large, a small one goes out which says so, and ends the command: later reports do not wait for it.
 */
@ApplicationScoped
public class KafkaOutbox implements CommandRunner.Reports {
    private static final Logger LOG = Logger.getLogger(KafkaOutbox.class);
    private static final long RETRY_MILLIS = 500;
    private static final long SEND_LIMIT_MILLIS = 60_000;
    private static final int MAX_PROGRESS_WAITING = 10;
    private final Emitter<byte[]> reports;
    private final Emitter<byte[]> hosts;
    private final LinkedBlockingQueue<Pending> queue = new LinkedBlockingQueue<>();
    private final AtomicBoolean beating = new AtomicBoolean();
    private final Thread sender;
    private volatile boolean stopped;

    private enum Sent {
        YES,
        NOT_NOW,
        NEVER
    }

    /**
     * What waits to be sent.
     *
     * @param instead of whom it is, if it can never be sent; null: of nobody, then it is dropped
     */
    private record Pending(String key, CloudEvent event, boolean once, Report.Header instead) {}

    KafkaOutbox(@Channel("reports") Emitter<byte[]> reports, @Channel("hosts") Emitter<byte[]> hosts) {
        this.reports = reports;
        this.hosts = hosts;
        this.sender = Thread.ofPlatform().name("outbox").daemon(true).start(this::sendAll);
    }

    @Override
    public void publish(Report report) {
        Report.Header h = report.header();
        boolean progress = report instanceof Report.Progress;
        if (progress && queue.size() >= MAX_PROGRESS_WAITING) {
            return;
        }
        queue.add(pending(report, progress, progress ? null : h));
    }

    private static Pending pending(Report report, boolean once, Report.Header instead) {
        Report.Header h = report.header();
        return new Pending(
                h.operation(),
                EventCodec.encode(h.id(), source(h.host()), h.operation(), report, Instant.now(), Map.of()),
                once,
                instead);
    }

    /** What is said instead of a report that is too large; null: nothing. */
    private static Pending instead(Pending p) {
        int bytes = p.event().getData() == null ? 0 : p.event().getData().toBytes().length;
        LOG.errorf("event=report-too-large id=%s bytes=%d", p.event().getId(), bytes);
        Report.Header h = p.instead();
        if (h == null) {
            return null;
        }
        return pending(
                new Report.Failed(
                        new Report.Header(
                                h.operation(), h.instance(), h.host(), h.phase(), h.attempt(), h.epoch(), "failed", 0),
                        ErrorCode.INTERNAL,
                        "the report " + h.id() + " has " + bytes
                                + " bytes, which the broker does not take; what was to be done is done",
                        "raise the broker's message.max.bytes, or mp.messaging.outgoing.reports.max.request.size of the storage services; then ask again"),
                false,
                null);
    }

    /** Sends a heartbeat; leaves it out while the last one is not sent. */
    public void heartbeat(Heartbeat.Storage heartbeat) {
        if (stopped || !beating.compareAndSet(false, true)) {
            return;
        }
        try {
            CloudEvent event = EventCodec.encode(
                    UUID.randomUUID().toString(),
                    source(heartbeat.host()),
                    heartbeat.host(),
                    heartbeat,
                    Instant.now(),
                    Map.of());
            CompletableFuture<Void> unused = send(hosts, "storage/" + heartbeat.host(), event)
                    .whenComplete((ok, e) -> {
                        beating.set(false);
                        if (e != null) {
                            LOG.warnf("event=heartbeat-not-sent host=%s error=\"%s\"", heartbeat.host(), e.toString());
                        }
                    });
        } catch (RuntimeException e) {
            beating.set(false);
            LOG.warnf("event=heartbeat-not-sent host=%s error=\"%s\"", heartbeat.host(), e.toString());
        }
    }

    private static URI source(String host) {
        return URI.create("/holdfast/storage/" + host);
    }

    private static CompletableFuture<Void> send(Emitter<byte[]> emitter, String key, CloudEvent event) {
        // The topic is the channel's; only key and headers come from the record.
        ProducerRecord<String, byte[]> record = EventCodec.record("channel", key, event);
        CompletableFuture<Void> taken = new CompletableFuture<>();
        OutgoingKafkaRecordMetadata<String> metadata = OutgoingKafkaRecordMetadata.<String>builder()
                .withKey(key)
                .withHeaders(record.headers())
                .build();
        emitter.send(Message.of(record.value())
                .addMetadata(metadata)
                .withAck(() -> {
                    taken.complete(null);
                    return CompletableFuture.completedFuture(null);
                })
                .withNack(e -> {
                    taken.completeExceptionally(e);
                    return CompletableFuture.completedFuture(null);
                }));
        return taken;
    }

    private void sendAll() {
        try {
            while (!stopped) {
                Pending next = queue.take();
                while (next != null) {
                    Sent sent = sendOne(next);
                    if (sent == Sent.NEVER) {
                        next = instead(next);
                    } else if (sent == Sent.YES || next.once()) {
                        next = null;
                    } else {
                        Thread.sleep(RETRY_MILLIS);
                    }
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private Sent sendOne(Pending p) throws InterruptedException {
        try {
            send(reports, p.key(), p.event()).get(SEND_LIMIT_MILLIS, TimeUnit.MILLISECONDS);
            return Sent.YES;
        } catch (ExecutionException | TimeoutException | RuntimeException e) {
            for (Throwable t = e; t != null; t = t.getCause()) {
                if (t instanceof RecordTooLargeException) {
                    return Sent.NEVER;
                }
            }
            LOG.warnf("event=report-not-sent id=%s error=\"%s\"", p.event().getId(), e.toString());
            return Sent.NOT_NOW;
        }
    }

    @PreDestroy
    void stop() {
        stopped = true;
        sender.interrupt();
    }
}
