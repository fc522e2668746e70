package io.holdfast.coordinator.app;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.coordinator.app.Schedule.Job;
import io.holdfast.coordinator.domain.Ids;
import io.holdfast.schemas.event.Request;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** When the clock asks for work on the repository. */
class ScheduleTest {
    private static final Job DAILY =
            new Job("prune", Duration.ofDays(1), Duration.ofHours(3), new Request.Prune(false));
    private final Schedule schedule = new Schedule(List.of(DAILY));
    private final Set<String> known = new HashSet<>();

    private List<String> due(String time) {
        return schedule.due(Instant.parse(time), known::contains).stream()
                .map(Schedule.Due::requestId)
                .toList();
    }

    @Test
    void aRunIsAskedForOnce_andTheNextOneADayLater() {
        assertThat(due("2026-01-02T03:00:00Z")).containsExactly("prune/2026-01-02T03:00:00Z");
        known.add(Ids.operation(Schedule.SOURCE, "prune/2026-01-02T03:00:00Z"));

        assertThat(due("2026-01-02T03:00:01Z")).isEmpty();
        assertThat(due("2026-01-03T02:59:59Z")).isEmpty();
        assertThat(due("2026-01-03T03:00:00Z")).containsExactly("prune/2026-01-03T03:00:00Z");
    }

    @Test
    void aMissedRunIsMadeUpFor_underTheSameIdWhoeverAsks() {
        assertThat(due("2026-01-02T17:12:00Z")).containsExactly("prune/2026-01-02T03:00:00Z");

        assertThat(new Schedule(List.of(DAILY)).due(Instant.parse("2026-01-02T20:00:00Z"), known::contains))
                .extracting(Schedule.Due::requestId)
                .containsExactly("prune/2026-01-02T03:00:00Z");
    }

    @Test
    void aRefusedRunIsAskedForAgain_butNotAllTheTime() {
        assertThat(due("2026-01-02T03:00:00Z")).hasSize(1);

        assertThat(due("2026-01-02T03:04:59Z")).isEmpty();
        assertThat(due("2026-01-02T03:05:00Z")).containsExactly("prune/2026-01-02T03:00:00Z");
    }

    @Test
    void aRunThatWasDoneIsNotAskedForAgain_whenItsOperationIsForgottenAmongManyNewerOnes() {
        assertThat(due("2026-01-02T03:00:00Z")).hasSize(1);
        known.add(Ids.operation(Schedule.SOURCE, "prune/2026-01-02T03:00:00Z"));
        assertThat(due("2026-01-02T03:00:01Z")).isEmpty();

        known.clear();

        assertThat(due("2026-01-02T20:00:00Z")).isEmpty();
        assertThat(due("2026-01-03T03:00:00Z")).containsExactly("prune/2026-01-03T03:00:00Z");
    }

    @Test
    void timesThatCannotBeAreRefused() {
        assertThatThrownBy(() -> new Job("x", Duration.ofSeconds(1), Duration.ZERO, new Request.Prune(false)))
                .hasMessageContaining("too often");
        assertThatThrownBy(() -> new Job("x", Duration.ofHours(1), Duration.ofHours(1), new Request.Prune(false)))
                .hasMessageContaining("offset");
    }
}
