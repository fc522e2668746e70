package io.holdfast.coordinator.domain;

import java.time.Duration;
import java.util.Map;

/**
 * What the decisions depend on besides state and input.
 *
 * @param cutLead how far ahead of the decision a cut (or a restart's common start) is set
 * @param cutLimit longest time that VMs may stand still in a cut
 * @param alive a host counts as alive that long after its last heartbeat
 * @param lost an operation gives a host up that long after its last heartbeat
 * @param settle heartbeats say nothing about missing VMs until that long after the instance began to run
 * @param resend commands without an answer are sent again at that interval, with the same id
 * @param retryFirst an archive or commit that failed because of the bucket, or a late commit, is asked for again after that long, then after twice as long ...
 * @param retryMost ... and at most that long
 * @param keptOperations finished operations beyond that many are forgotten, oldest first, but the last scheduled one of each kind
 * @param firstVni lowest VXLAN network identifier to use
 * @param lastVni highest VXLAN network identifier to use
 * @param defaultLimit time limit of a phase that {@code limits} does not name
 * @param limits phase name to its time limit
 */
public record Settings(
        Duration cutLead,
        Duration cutLimit,
        Duration alive,
        Duration lost,
        Duration settle,
        Duration resend,
        Duration retryFirst,
        Duration retryMost,
        int keptOperations,
        int firstVni,
        int lastVni,
        Duration defaultLimit,
        Map<String, Duration> limits) {
    public Settings {
        limits = Map.copyOf(limits);
        if (firstVni < 1 || lastVni > 0xFFFFFF || firstVni > lastVni) {
            throw new IllegalArgumentException("VNI range " + firstVni + " to " + lastVni + " is not in 1 to 16777215");
        }
    }

    /** The defaults, as the configuration has them too. */
    public static Settings defaults() {
        return new Settings(
                Duration.ofMillis(300),
                Duration.ofMillis(1000),
                Duration.ofSeconds(5),
                Duration.ofSeconds(30),
                Duration.ofSeconds(5),
                Duration.ofSeconds(5),
                Duration.ofSeconds(5),
                Duration.ofSeconds(60),
                1000,
                10_000,
                16_000_000,
                Duration.ofMinutes(2),
                Map.ofEntries(
                        Map.entry(Phases.PREPARE, Duration.ofSeconds(30)),
                        Map.entry(Phases.CUT, Duration.ofSeconds(30)),
                        Map.entry(Phases.WRITE, Duration.ofMinutes(10)),
                        Map.entry(Phases.ARCHIVE, Duration.ofHours(1)),
                        Map.entry(Phases.COMMIT, Duration.ofMinutes(2)),
                        Map.entry(Phases.PULL, Duration.ofHours(1)),
                        Map.entry(Phases.LOAD, Duration.ofMinutes(10)),
                        Map.entry(Phases.ABORT, Duration.ofMinutes(1)),
                        Map.entry(Phases.VERIFY, Duration.ofHours(24)),
                        Map.entry(Phases.FORGET, Duration.ofHours(1)),
                        Map.entry(Phases.PRUNE, Duration.ofHours(6)),
                        Map.entry(Phases.HOLD, Duration.ofHours(1)),
                        Map.entry(Phases.STATS, Duration.ofHours(1)),
                        Map.entry(Phases.REBUILD, Duration.ofHours(6))));
    }

    /** Time between the failure of an attempt, counted from 1, and the next attempt. */
    Duration retryAfter(int attempt) {
        Duration wait = retryFirst;
        for (int i = 1; i < attempt && wait.compareTo(retryMost) < 0; i++) {
            wait = wait.multipliedBy(2);
        }
        return wait.compareTo(retryMost) < 0 ? wait : retryMost;
    }

    /** Time limit of a phase. */
    public Duration limit(String phase) {
        return limits.getOrDefault(phase, defaultLimit);
    }
}
