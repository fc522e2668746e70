package io.holdfast.coordinator.adapter.kafka;

import io.holdfast.coordinator.config.CoordinatorConfig;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Topics;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.jboss.logging.Logger;

/** Creates the topics that do not exist. Those that do only get room for the largest record. */
final class TopicAdmin {
    private static final Logger LOG = Logger.getLogger(TopicAdmin.class);

    private TopicAdmin() {}

    /** The topics with a prefix, as they are created. */
    static List<NewTopic> topics(String prefix, CoordinatorConfig.Topics config) {
        String week = Long.toString(config.retention().toMillis());
        String month = Long.toString(config.eventRetention().toMillis());
        var list = new ArrayList<NewTopic>();
        for (String name : List.of(Topics.REQUESTS, Topics.COMMANDS, Topics.REPORTS)) {
            list.add(new NewTopic(prefix + name, config.partitions(), config.replication())
                    .configs(with(TopicConfig.RETENTION_MS_CONFIG, week)));
        }
        list.add(new NewTopic(prefix + Topics.EVENTS, config.partitions(), config.replication())
                .configs(with(TopicConfig.RETENTION_MS_CONFIG, month)));
        for (String name : List.of(Topics.JOURNAL, Topics.HOSTS, Topics.CATALOG)) {
            list.add(new NewTopic(prefix + name, 1, config.replication())
                    .configs(with(
                            TopicConfig.CLEANUP_POLICY_CONFIG,
                            TopicConfig.CLEANUP_POLICY_COMPACT,
                            TopicConfig.SEGMENT_BYTES_CONFIG,
                            Integer.toString(16 << 20),
                            TopicConfig.MIN_CLEANABLE_DIRTY_RATIO_CONFIG,
                            "0.3")));
        }
        return list;
    }

    /** Settings of a topic, names and values in turn, and room for the largest record. */
    private static Map<String, String> with(String... settings) {
        var map = new TreeMap<String, String>();
        for (int i = 0; i < settings.length; i += 2) {
            map.put(settings[i], settings[i + 1]);
        }
        map.put(TopicConfig.MAX_MESSAGE_BYTES_CONFIG, Integer.toString(EventCodec.MAX_RECORD_BYTES));
        return map;
    }

    /**
     * Creates what is missing, makes room for the largest record where there is less. Done any number of times.
     *
     * @throws ExecutionException if the broker refuses or cannot be reached
     */
    static void create(Admin admin, List<NewTopic> topics) throws ExecutionException, InterruptedException {
        var there = admin.listTopics().names().get();
        makeRoom(
                admin,
                topics.stream().map(NewTopic::name).filter(there::contains).toList());
        var missing = topics.stream().filter(t -> !there.contains(t.name())).toList();
        if (missing.isEmpty()) {
            return;
        }
        for (var e : admin.createTopics(missing).values().entrySet()) {
            try {
                e.getValue().get();
                LOG.infof("event=topic_created topic=%s", e.getKey());
            } catch (ExecutionException x) {
                if (!(x.getCause() instanceof TopicExistsException)) {
                    throw x;
                }
            }
        }
    }

    /** A topic that takes too little would stop the coordinator at the first larger record: it writes until it is taken. */
    private static void makeRoom(Admin admin, List<String> topics) throws ExecutionException, InterruptedException {
        var resources = topics.stream()
                .map(t -> new ConfigResource(ConfigResource.Type.TOPIC, t))
                .toList();
        var room = new AlterConfigOp(
                new ConfigEntry(TopicConfig.MAX_MESSAGE_BYTES_CONFIG, Integer.toString(EventCodec.MAX_RECORD_BYTES)),
                AlterConfigOp.OpType.SET);
        try {
            var small = new HashMap<ConfigResource, Collection<AlterConfigOp>>();
            admin.describeConfigs(resources).all().get().forEach((topic, config) -> {
                String bytes = config.get(TopicConfig.MAX_MESSAGE_BYTES_CONFIG).value();
                if (Integer.parseInt(bytes) < EventCodec.MAX_RECORD_BYTES) {
                    small.put(topic, List.of(room));
                }
            });
            admin.incrementalAlterConfigs(small).all().get();
            small.keySet()
                    .forEach(t -> LOG.infof(
                            "event=topic_altered topic=%s max.message.bytes=%d",
                            t.name(), EventCodec.MAX_RECORD_BYTES));
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof AuthorizationException)
                    && !(e.getCause() instanceof PolicyViolationException)) {
                throw e;
            }
            LOG.warnf(
                    "event=topic_not_altered cause=%s remedy=\"set max.message.bytes of Holdfast's topics to %d\"",
                    e.getCause(), EventCodec.MAX_RECORD_BYTES);
        }
    }
}
