package io.holdfast.coordinator.config;

import io.holdfast.coordinator.domain.Phases;
import io.holdfast.coordinator.domain.Settings;
import io.smallrye.config.ConfigMapping;
import io.smallrye.config.WithDefault;
import java.time.Duration;
import java.util.Map;

/** Configuration of the coordinator. */
@ConfigMapping(prefix = "holdfast.coordinator")
public interface CoordinatorConfig {
    /** How far ahead a cut is set at least: twice the time the hosts took to prepare when that is longer, at most 10 s. */
    @WithDefault("300ms")
    Duration cutLead();

    /** Longest time that VMs may stand still in a cut; then they run on and the checkpoint fails. */
    @WithDefault("1s")
    Duration cutLimit();

    /** A host counts as alive that long after its last heartbeat. */
    @WithDefault("5s")
    Duration hostAlive();

    /** An operation gives a host up that long after its last heartbeat. */
    @WithDefault("30s")
    Duration hostLost();

    /** VMs that a heartbeat does not name count as ended, from that long after the instance began to run. */
    @WithDefault("5s")
    Duration settle();

    /** Commands without an answer are sent again at that interval, with the same id. */
    @WithDefault("5s")
    Duration resend();

    /** Time between looks at deadlines. */
    @WithDefault("200ms")
    Duration tick();

    /** Time between attempts to write to a broker that fails. */
    @WithDefault("500ms")
    Duration retryPause();

    /** Finished operations beyond that many are forgotten, oldest first. */
    @WithDefault("1000")
    int keptOperations();

    /** Public events that are kept in memory for those who watch. */
    @WithDefault("5000")
    int keptEvents();

    /** VXLAN network identifiers to use. */
    Vnis vni();

    /** Time limits of phases. */
    Limits limits();

    /** Topics, which the coordinator creates. */
    Topics topics();

    /** VXLAN network identifiers. */
    interface Vnis {
        /** Lowest. */
        @WithDefault("10000")
        int first();

        /** Highest, at most 16777215. */
        @WithDefault("16000000")
        int last();
    }

    /** Time limits of phases. */
    interface Limits {
        /** Network and VMs are made. */
        @WithDefault("2m")
        Duration deploy();

        /** Hosts get ready for a cut. */
        @WithDefault("30s")
        Duration prepare();

        /** VMs are cut and run again. */
        @WithDefault("30s")
        Duration cut();

        /** Images become durable on the hosts. */
        @WithDefault("10m")
        Duration write();

        /** Images go to the repository. */
        @WithDefault("1h")
        Duration archive();

        /** The manifest is written. */
        @WithDefault("2m")
        Duration commit();

        /** What was there under the name is removed. */
        @WithDefault("2m")
        Duration clear();

        /** Images come from the repository. */
        @WithDefault("1h")
        Duration pull();

        /** VMs are loaded. */
        @WithDefault("10m")
        Duration load();

        /** Loaded VMs begin to run. */
        @WithDefault("1m")
        Duration resume();

        /** An instance is removed. */
        @WithDefault("2m")
        Duration destroy();

        /** A failed checkpoint is given up. */
        @WithDefault("1m")
        Duration abort();

        /** A failed deploy or restore is removed. */
        @WithDefault("2m")
        Duration undo();
    }

    /** Topics. */
    interface Topics {
        /** Partitions of topics that have none yet; the journal, hosts and catalog always have one. */
        @WithDefault("1")
        int partitions();

        /** Replicas of each topic. */
        @WithDefault("1")
        short replication();

        /** How long requests, commands and reports are kept. */
        @WithDefault("7d")
        Duration retention();

        /** How long public events are kept. */
        @WithDefault("30d")
        Duration eventRetention();
    }

    /** What the decisions need of it. */
    default Settings settings() {
        var l = limits();
        return new Settings(
                cutLead(),
                cutLimit(),
                hostAlive(),
                hostLost(),
                settle(),
                resend(),
                keptOperations(),
                vni().first(),
                vni().last(),
                l.deploy(),
                Map.ofEntries(
                        Map.entry(Phases.DEPLOY, l.deploy()),
                        Map.entry(Phases.PREPARE, l.prepare()),
                        Map.entry(Phases.CUT, l.cut()),
                        Map.entry(Phases.WRITE, l.write()),
                        Map.entry(Phases.ARCHIVE, l.archive()),
                        Map.entry(Phases.COMMIT, l.commit()),
                        Map.entry(Phases.CLEAR, l.clear()),
                        Map.entry(Phases.PULL, l.pull()),
                        Map.entry(Phases.LOAD, l.load()),
                        Map.entry(Phases.RESUME, l.resume()),
                        Map.entry(Phases.DESTROY, l.destroy()),
                        Map.entry(Phases.ABORT, l.abort()),
                        Map.entry(Phases.UNDO, l.undo())));
    }
}
