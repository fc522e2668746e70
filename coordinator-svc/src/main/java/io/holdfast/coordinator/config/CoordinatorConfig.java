package io.holdfast.coordinator.config;

import io.holdfast.coordinator.app.Schedule;
import io.holdfast.coordinator.domain.Phases;
import io.holdfast.coordinator.domain.Settings;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Request;
import io.smallrye.config.ConfigMapping;
import io.smallrye.config.WithDefault;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

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

    /** Archives that fail because of the bucket. */
    ArchiveRetry archiveRetry();

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

    /** Work on the repository that is asked for by the clock. */
    Schedules schedule();

    /** Topics, which the coordinator creates. */
    Topics topics();

    /**
     * An archive or commit that fails because the bucket does not answer, refuses or is full, or a commit that is not
     * answered within {@code limits.commit}, is asked for again, until {@code limits.archive} is over.
     */
    interface ArchiveRetry {
        /** Time before the second attempt; it doubles with each one. */
        @WithDefault("5s")
        Duration first();

        /** Longest time between two attempts. */
        @WithDefault("60s")
        Duration most();
    }

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

        /** Images go to the repository, with all attempts. */
        @WithDefault("1h")
        Duration archive();

        /** The manifest is written, each attempt. */
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

        /** The repository is verified. */
        @WithDefault("24h")
        Duration verify();

        /** Checkpoints are forgotten. */
        @WithDefault("1h")
        Duration forget();

        /** Garbage is collected. */
        @WithDefault("6h")
        Duration prune();

        /** A checkpoint is held, its objects locked. */
        @WithDefault("1h")
        Duration hold();

        /** A checkpoint is released. */
        @WithDefault("2m")
        Duration release();

        /** The repository is counted. */
        @WithDefault("1h")
        Duration stats();

        /** Index and catalog are made anew. */
        @WithDefault("6h")
        Duration rebuild();
    }

    /** Work on the repository that is asked for by the clock. Every part is off by default. */
    interface Schedules {
        /** Verify. */
        Verify verify();

        /** Forget by a policy, and the prune after it. */
        Forget forget();

        /** Prune. */
        Prune prune();

        /** Stats. */
        Stats stats();

        /** Rebuild. */
        Rebuild rebuild();

        /** Verify. */
        interface Verify {
            /** Time between runs, counted from midnight UTC; nothing: never. */
            Optional<Duration> every();

            /** How long after the beginning of each such time it runs. */
            @WithDefault("0s")
            Duration offset();

            /** Part of the packs that is read, in percent. */
            @WithDefault("5")
            int samplePercent();
        }

        /** Forget. Without a rule it does not run. */
        interface Forget {
            /** Time between runs, counted from midnight UTC; nothing: never. */
            Optional<Duration> every();

            /** How long after the beginning of each such time it runs. */
            @WithDefault("0s")
            Duration offset();

            /** Only checkpoints of that instance; nothing: of each. */
            Optional<String> instance();

            /** Keep the newest so many of an instance. */
            OptionalInt keepLast();

            /** Keep the newest of each of the last so many hours that have any. */
            OptionalInt keepHourly();

            /** The same by days. */
            OptionalInt keepDaily();

            /** The same by ISO weeks. */
            OptionalInt keepWeekly();

            /** The same by months. */
            OptionalInt keepMonthly();
        }

        /** Prune. */
        interface Prune {
            /** Time between runs, counted from midnight UTC; nothing: never. */
            Optional<Duration> every();

            /** How long after the beginning of each such time it runs. */
            @WithDefault("0s")
            Duration offset();
        }

        /** Stats. */
        interface Stats {
            /** Time between runs, counted from midnight UTC; nothing: never. */
            Optional<Duration> every();

            /** How long after the beginning of each such time it runs. */
            @WithDefault("0s")
            Duration offset();

            /** Of the lines by instance only that one; nothing: all. */
            Optional<String> instance();
        }

        /** Rebuild. */
        interface Rebuild {
            /** Time between runs, counted from midnight UTC; nothing: never. */
            Optional<Duration> every();

            /** How long after the beginning of each such time it runs. */
            @WithDefault("0s")
            Duration offset();
        }
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

    /** What is to be asked for by the clock. */
    default List<Schedule.Job> jobs() {
        var jobs = new ArrayList<Schedule.Job>();
        var v = schedule().verify();
        v.every()
                .ifPresent(e -> jobs.add(
                        new Schedule.Job("verify", e, v.offset(), new Request.Verify(null, v.samplePercent()))));
        var f = schedule().forget();
        var keep = new KeepPolicy(
                boxed(f.keepLast()),
                boxed(f.keepHourly()),
                boxed(f.keepDaily()),
                boxed(f.keepWeekly()),
                boxed(f.keepMonthly()));
        f.every().ifPresent(e -> {
            if (keep.keepsNothing()) {
                throw new IllegalArgumentException(
                        "holdfast.coordinator.schedule.forget has no keep-last, -hourly, -daily, -weekly or -monthly");
            }
            jobs.add(new Schedule.Job(
                    "forget",
                    e,
                    f.offset(),
                    new Request.Forget(null, f.instance().orElse(null), keep, false)));
        });
        var p = schedule().prune();
        p.every().ifPresent(e -> jobs.add(new Schedule.Job("prune", e, p.offset(), new Request.Prune(false))));
        var s = schedule().stats();
        s.every()
                .ifPresent(e -> jobs.add(new Schedule.Job(
                        "stats", e, s.offset(), new Request.Stats(s.instance().orElse(null)))));
        var r = schedule().rebuild();
        r.every().ifPresent(e -> jobs.add(new Schedule.Job("rebuild", e, r.offset(), new Request.Rebuild(false))));
        return jobs;
    }

    private static Integer boxed(OptionalInt i) {
        return i.isPresent() ? i.getAsInt() : null;
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
                archiveRetry().first(),
                archiveRetry().most(),
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
                        Map.entry(Phases.UNDO, l.undo()),
                        Map.entry(Phases.VERIFY, l.verify()),
                        Map.entry(Phases.FORGET, l.forget()),
                        Map.entry(Phases.PRUNE, l.prune()),
                        Map.entry(Phases.HOLD, l.hold()),
                        Map.entry(Phases.RELEASE, l.release()),
                        Map.entry(Phases.STATS, l.stats()),
                        Map.entry(Phases.REBUILD, l.rebuild())));
    }
}
