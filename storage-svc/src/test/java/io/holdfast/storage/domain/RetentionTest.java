package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.storage.domain.Retention.Candidate;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Policies against calendars that were worked out by hand, and their laws against random ones. */
class RetentionTest {
    private static Candidate at(String time) {
        return new Candidate("cp-" + time.replaceAll("[^0-9]", ""), Instant.parse(time));
    }

    private static List<String> kept(KeepPolicy policy, Candidate... all) {
        return Retention.apply(policy, List.of(all)).entrySet().stream()
                .filter(e -> !e.getValue().isEmpty())
                .map(e -> e.getKey().takenAt() + " " + String.join(",", e.getValue()))
                .toList();
    }

    @Test
    void lastKeepsTheNewest_whateverTheOrderTheyComeIn() {
        assertThat(kept(
                        new KeepPolicy(2, null, null, null, null),
                        at("2026-01-02T00:00:00Z"),
                        at("2026-01-03T00:00:00Z"),
                        at("2026-01-01T00:00:00Z")))
                .containsExactly("2026-01-03T00:00:00Z last", "2026-01-02T00:00:00Z last");
    }

    @Test
    void dailyKeepsTheNewestOfEachOfTheLastDaysThatHaveAny_gapsDoNotCount() {
        assertThat(kept(
                        new KeepPolicy(null, null, 2, null, null),
                        at("2026-03-01T23:59:59Z"),
                        at("2026-03-01T00:00:00Z"),
                        at("2026-02-10T12:00:00Z"),
                        at("2026-02-10T11:00:00Z"),
                        at("2026-02-09T11:00:00Z")))
                .containsExactly("2026-03-01T23:59:59Z daily", "2026-02-10T12:00:00Z daily");
    }

    @Test
    void weeksAreIsoWeeks_acrossTheYearsEnd() {
        // 2026-12-28 to 2027-01-03 is week 53 of 2026
        assertThat(kept(
                        new KeepPolicy(null, null, null, 2, null),
                        at("2027-01-03T12:00:00Z"),
                        at("2026-12-28T12:00:00Z"),
                        at("2026-12-27T12:00:00Z"),
                        at("2026-12-21T12:00:00Z")))
                .containsExactly("2027-01-03T12:00:00Z weekly", "2026-12-27T12:00:00Z weekly");
    }

    @Test
    void rulesAddUp_andEachSaysWhatItKeeps() {
        assertThat(kept(
                        new KeepPolicy(1, 2, null, null, 2),
                        at("2026-03-01T10:30:00Z"),
                        at("2026-03-01T10:00:00Z"),
                        at("2026-03-01T09:00:00Z"),
                        at("2026-02-28T09:00:00Z"),
                        at("2026-01-28T09:00:00Z")))
                .containsExactly(
                        "2026-03-01T10:30:00Z last,hourly,monthly",
                        "2026-03-01T09:00:00Z hourly",
                        "2026-02-28T09:00:00Z monthly");
    }

    @Test
    void aPolicyWithoutRulesIsKnownToKeepNothing() {
        assertThat(new KeepPolicy(null, null, null, null, null).keepsNothing()).isTrue();
        assertThat(new KeepPolicy(null, null, null, null, 1).keepsNothing()).isFalse();
    }

    @Test
    void laws_theNewestStays_moreKeepsMore_andTwiceIsOnce() {
        Random random = new Random(5);
        for (int round = 0; round < 200; round++) {
            var all = new ArrayList<Candidate>();
            for (int i = 0; i < 1 + random.nextInt(60); i++) {
                all.add(new Candidate("cp-" + i, Instant.ofEpochSecond(1_700_000_000L + random.nextInt(20_000_000))));
            }
            int h = random.nextInt(5);
            int d = random.nextInt(5);
            KeepPolicy policy = new KeepPolicy(1, h == 0 ? null : h, d == 0 ? null : d, 1 + random.nextInt(3), null);
            KeepPolicy more = new KeepPolicy(3, 5, 5, 4, 2);

            Set<String> kept = ids(policy, all);

            Candidate newest = all.stream()
                    .max((a, b) -> a.takenAt().equals(b.takenAt())
                            ? a.checkpoint().compareTo(b.checkpoint())
                            : a.takenAt().compareTo(b.takenAt()))
                    .orElseThrow();
            assertThat(kept).contains(newest.checkpoint());
            assertThat(ids(more, all)).containsAll(kept);
            assertThat(ids(
                            policy,
                            all.stream()
                                    .filter(c -> kept.contains(c.checkpoint()))
                                    .toList()))
                    .isEqualTo(kept);
        }
    }

    private static Set<String> ids(KeepPolicy policy, List<Candidate> all) {
        var ids = new HashSet<String>();
        Retention.apply(policy, all).forEach((c, reasons) -> {
            if (!reasons.isEmpty()) {
                ids.add(c.checkpoint());
            }
        });
        return ids;
    }
}
