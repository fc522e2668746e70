package io.holdfast.coordinator.app;

import io.holdfast.coordinator.domain.Ids;
import io.holdfast.schemas.event.Request;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Requests that are due by the clock. Each run has an id that depends on its time alone, so that a coordinator that starts
 * again asks for nothing twice; a run that was missed because no coordinator was there is made up for as long as its time
 * lasts, and one that is refused is asked for again. Not thread-safe.
 */
public final class Schedule {
    /** CloudEvents source of the requests. */
    public static final String SOURCE = Ids.SCHEDULE;

    private static final Duration AGAIN = Duration.ofMinutes(5);

    /**
     * Something to do every so often.
     *
     * @param every time between runs, from 1970-01-01T00:00:00Z on
     * @param offset how long after the beginning of each such time
     */
    public record Job(String name, Duration every, Duration offset, Request request) {
        public Job {
            if (every.compareTo(Duration.ofMinutes(1)) < 0) {
                throw new IllegalArgumentException("schedule of " + name + ": every " + every + " is too often");
            }
            if (offset.isNegative() || offset.compareTo(every) >= 0) {
                throw new IllegalArgumentException(
                        "schedule of " + name + ": the offset must be shorter than " + every);
            }
        }

        /** The beginning of the run that is due at that time. */
        Instant slot(Instant now) {
            long seconds = every.toSeconds();
            long since = Math.floorDiv(now.getEpochSecond() - offset.toSeconds(), seconds) * seconds;
            return Instant.ofEpochSecond(since + offset.toSeconds());
        }
    }

    /** A request to publish. */
    public record Due(String requestId, Request request) {}

    private final List<Job> jobs;
    private final Map<String, Instant> asked = new HashMap<>();
    /** By job the run that was accepted last: its operation is forgotten some day. */
    private final Map<String, String> done = new HashMap<>();

    public Schedule(List<Job> jobs) {
        this.jobs = List.copyOf(jobs);
    }

    public boolean isEmpty() {
        return jobs.isEmpty();
    }

    /**
     * What to ask for now.
     *
     * @param known whether an operation of that id was accepted already
     */
    public List<Due> due(Instant now, Predicate<String> known) {
        var list = new ArrayList<Due>();
        for (Job job : jobs) {
            String id = job.name() + "/" + job.slot(now);
            Instant before = asked.get(id);
            if (known.test(Ids.operation(SOURCE, id))) {
                done.put(job.name(), id);
            } else if (!id.equals(done.get(job.name()))
                    && (before == null || !before.plus(AGAIN).isAfter(now))) {
                asked.keySet().removeIf(k -> k.startsWith(job.name() + "/"));
                asked.put(id, now);
                list.add(new Due(id, job.request()));
            }
        }
        return list;
    }
}
