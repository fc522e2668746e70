package io.holdfast.coordinator.adapter.kafka;

import io.holdfast.coordinator.domain.Input;
import io.holdfast.coordinator.domain.Instance;
import io.holdfast.coordinator.domain.Operation;
import io.holdfast.coordinator.domain.State;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Topics;
import io.holdfast.schemas.view.CheckpointView;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.jboss.logging.Logger;

/** Reads journal, catalog and heartbeats from their beginning to their present end. */
final class Replay {
    private static final Logger LOG = Logger.getLogger(Replay.class);

    private final TreeMap<String, Operation> operations = new TreeMap<>();
    private final TreeMap<String, Instance> instances = new TreeMap<>();
    private final TreeMap<String, CheckpointView> checkpoints = new TreeMap<>();
    private final Map<String, Input.Beat> beats = new HashMap<>();
    private long epoch;
    private int unreadable;

    private Replay() {}

    /** What was read; the epoch is the last one taken. */
    record Result(State state, List<Input.Beat> beats, int unreadable) {}

    /**
     * Reads to the end.
     *
     * @param prefix prefix of the topics' names
     */
    static Result read(Consumer<String, byte[]> consumer, String prefix) {
        var replay = new Replay();
        var partitions = new ArrayList<TopicPartition>();
        for (String topic : List.of(Topics.JOURNAL, Topics.CATALOG, Topics.HOSTS)) {
            consumer.partitionsFor(prefix + topic)
                    .forEach(p -> partitions.add(new TopicPartition(p.topic(), p.partition())));
        }
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
            for (ConsumerRecord<String, byte[]> r : consumer.poll(Duration.ofMillis(500))) {
                replay.take(r, r.topic().substring(prefix.length()));
            }
        }
        return new Result(
                State.of(replay.epoch, replay.operations, replay.instances, replay.checkpoints),
                List.copyOf(replay.beats.values()),
                replay.unreadable);
    }

    private void take(ConsumerRecord<String, byte[]> r, String topic) {
        try {
            switch (topic) {
                case Topics.JOURNAL -> journal(r.key(), r.value());
                case Topics.CATALOG -> {
                    if (r.value() == null) {
                        checkpoints.remove(r.key());
                    } else {
                        checkpoints.put(r.key(), CatalogCodec.decode(r.headers(), r.value()));
                    }
                }
                case Topics.HOSTS -> {
                    if (r.value() != null) {
                        var event = EventCodec.read(r.headers(), r.value());
                        if (EventCodec.decode(event) instanceof Heartbeat h && h.host() != null) {
                            beats.put(r.key(), new Input.Beat(h, Channels.timeOf(event, r.timestamp())));
                        }
                    }
                }
                default -> throw new IllegalArgumentException(topic);
            }
        } catch (IOException | InvalidEventException | RuntimeException e) {
            unreadable++;
            LOG.errorf(
                    "event=unreadable_record topic=%s partition=%d offset=%d key=%s cause=%s",
                    r.topic(), r.partition(), r.offset(), r.key(), e);
        }
    }

    private void journal(String key, byte[] value) throws IOException {
        if (key.equals(JournalCodec.EPOCH_KEY)) {
            epoch = Math.max(epoch, JournalCodec.epoch(value));
        } else if (key.startsWith(JournalCodec.OPERATION_PREFIX)) {
            String id = key.substring(JournalCodec.OPERATION_PREFIX.length());
            if (value == null) {
                operations.remove(id);
            } else {
                operations.put(id, JournalCodec.operation(value));
            }
        } else if (key.startsWith(JournalCodec.INSTANCE_PREFIX)) {
            String name = key.substring(JournalCodec.INSTANCE_PREFIX.length());
            if (value == null) {
                instances.remove(name);
            } else {
                instances.put(name, JournalCodec.instance(value));
            }
        }
    }
}
