package io.holdfast.storage.domain;

import io.holdfast.schemas.event.KeepPolicy;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.temporal.ChronoUnit;
import java.time.temporal.IsoFields;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Function;

/**
 * Which checkpoints of one instance a policy keeps, and why. As in restic: of each of the newest so many hours, days, ISO
 * weeks or months (UTC) that have a checkpoint at all, the newest one is kept; what one rule keeps, stays.
 */
public final class Retention {
    /** A checkpoint of the instance. */
    public record Candidate(String checkpoint, Instant takenAt) {}

    private Retention() {}

    /**
     * Applies the policy.
     *
     * @return every checkpoint, newest first, with the rules that keep it; none: it is to go
     */
    public static SequencedMap<Candidate, List<String>> apply(KeepPolicy policy, List<Candidate> all) {
        var sorted = new ArrayList<>(all);
        sorted.sort(Comparator.comparing(Candidate::takenAt)
                .thenComparing(Candidate::checkpoint)
                .reversed());
        var reasons = new java.util.LinkedHashMap<Candidate, List<String>>();
        sorted.forEach(c -> reasons.put(c, new ArrayList<>()));
        int[] number = {0};
        rule("last", policy.last(), sorted, reasons, t -> number[0]++);
        rule("hourly", policy.hourly(), sorted, reasons, t -> t.truncatedTo(ChronoUnit.HOURS));
        rule("daily", policy.daily(), sorted, reasons, t -> t.truncatedTo(ChronoUnit.DAYS));
        rule(
                "weekly",
                policy.weekly(),
                sorted,
                reasons,
                t -> t.get(IsoFields.WEEK_BASED_YEAR) * 100L + t.get(IsoFields.WEEK_OF_WEEK_BASED_YEAR));
        rule("monthly", policy.monthly(), sorted, reasons, t -> t.getYear() * 100L + t.getMonthValue());
        return reasons;
    }

    private static void rule(
            String name,
            Integer count,
            List<Candidate> newestFirst,
            SequencedMap<Candidate, List<String>> reasons,
            Function<ZonedDateTime, Object> slotOf) {
        Object last = null;
        int left = count == null ? 0 : count;
        for (Candidate c : newestFirst) {
            if (left <= 0) {
                return;
            }
            Object slot = slotOf.apply(c.takenAt().atZone(ZoneOffset.UTC));
            if (!slot.equals(last)) {
                reasons.get(c).add(name);
                last = slot;
                left--;
            }
        }
    }
}
