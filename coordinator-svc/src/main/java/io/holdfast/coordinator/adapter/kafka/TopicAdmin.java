package io.holdfast.coordinator.adapter.kafka;

import io.holdfast.coordinator.config.CoordinatorConfig;
import io.holdfast.schemas.event.Topics;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.TopicExistsException;
import org.jboss.logging.Logger;

/** Creates the topics that do not exist. Leaves those that do as they are. */
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
                    .configs(Map.of(TopicConfig.RETENTION_MS_CONFIG, week)));
        }
        list.add(new NewTopic(prefix + Topics.EVENTS, config.partitions(), config.replication())
                .configs(Map.of(TopicConfig.RETENTION_MS_CONFIG, month)));
        for (String name : List.of(Topics.JOURNAL, Topics.HOSTS, Topics.CATALOG)) {
            list.add(new NewTopic(prefix + name, 1, config.replication())
                    .configs(Map.of(
                            TopicConfig.CLEANUP_POLICY_CONFIG,
                            TopicConfig.CLEANUP_POLICY_COMPACT,
                            TopicConfig.SEGMENT_BYTES_CONFIG,
                            Integer.toString(16 << 20),
                            TopicConfig.MIN_CLEANABLE_DIRTY_RATIO_CONFIG,
                            "0.3")));
        }
        return list;
    }

    /**
     * Creates what is missing. Done any number of times.
     *
     * @throws ExecutionException if the broker refuses or cannot be reached
     */
    static void create(Admin admin, List<NewTopic> topics) throws ExecutionException, InterruptedException {
        var there = admin.listTopics().names().get();
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
}
