package io.holdfast.storage.maintenance;

import static io.holdfast.storage.maintenance.SimRepository.KEYS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance.ForgetEntry;
import io.holdfast.schemas.event.Maintenance.ForgetResult;
import io.holdfast.schemas.event.Maintenance.RebuildResult;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.Hold;
import io.holdfast.storage.domain.Manifests;
import io.holdfast.storage.domain.StorageException;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a forget tells of, also of one that was cut off. */
class ForgetterTest {
    private static final KeepPolicy LAST = new KeepPolicy(1, null, null, null, null);
    private SimRepository r;

    /** The bucket does no more. */
    private static final class CutOff extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    @BeforeEach
    void five() throws StorageException {
        r = new SimRepository();
        for (int n = 1; n <= 5; n++) {
            r.index(r.pack(n));
            r.checkpoint("cp-" + n, n);
            r.store.now = r.store.now.plus(Duration.ofDays(1));
        }
    }

    private Forgetter forgetter(String by) {
        return new Forgetter(r.store, KEYS, r.survey, Clock.systemUTC(), by);
    }

    private ForgetResult byPolicy(String by) throws StorageException {
        return forgetter(by).byPolicy(null, LAST, List.of(), false, new Progress());
    }

    private static List<String> names(List<ForgetEntry> entries) {
        return entries.stream().map(ForgetEntry::checkpoint).sorted().toList();
    }

    /** The bucket fails after so many checkpoints have lost their manifest. */
    private void cutOffAfter(int checkpoints) {
        int[] left = {checkpoints};
        r.store.onDelete = key -> {
            if (key.startsWith(KEYS.checkpoints()) && --left[0] == 0) {
                r.store.onDelete = k -> {};
                throw new CutOff();
            }
        };
    }

    @Test
    void whatAForgetRemovedThatWasCutOff_theNextOneTellsOf_once() throws Exception {
        cutOffAfter(2);
        assertThatThrownBy(() -> byPolicy("op-1")).isInstanceOf(CutOff.class);

        ForgetResult next = byPolicy("op-2");

        assertThat(names(next.forgotten())).containsExactly("cp-1", "cp-2", "cp-3", "cp-4");
        assertThat(names(next.kept())).containsExactly("cp-5");
        // it may be done again: its service died before its end was in the journal
        assertThat(names(byPolicy("op-2").forgotten())).containsExactly("cp-1", "cp-2", "cp-3", "cp-4");
        assertThat(names(byPolicy("op-3").forgotten())).isEmpty();
    }

    @Test
    void theSameHoldsOfOneWithNames_andADryRunTellsOfNothingThatIsGone() throws Exception {
        cutOffAfter(1);
        assertThatThrownBy(() -> forgetter("op-1").named(List.of("cp-1", "cp-2"), List.of(), false, new Progress()))
                .isInstanceOf(CutOff.class);

        ForgetResult dry = forgetter("op-2").byPolicy(null, LAST, List.of(), true, new Progress());
        ForgetResult next = forgetter("op-2").named(List.of("cp-3"), List.of(), false, new Progress());

        assertThat(names(dry.forgotten())).containsExactly("cp-2", "cp-3", "cp-4");
        assertThat(names(next.forgotten())).containsExactly("cp-1", "cp-3");
    }

    @Test
    void noResultGrowsWithTheRepository_whatIsLeftOutIsCounted() throws Exception {
        int all = Rebuilder.MOST_TOLD + 3;
        for (int n = 6; n <= all; n++) {
            String id = "cp-" + n;
            byte[] data = Manifests.encode(new CheckpointManifest(
                    1,
                    id,
                    "net",
                    null,
                    r.store.now.plusSeconds(n),
                    new InstanceLayout("net", null, List.of(), Map.of()),
                    List.of(),
                    List.of(),
                    new CutFigures(List.of())));
            r.store.put(KEYS.checkpoint(id), data, 0, data.length);
        }

        ForgetResult f = forgetter("op-1")
                .byPolicy(null, new KeepPolicy(all - 7, null, null, null, null), List.of(), true, new Progress());
        var told = new ArrayList<String>();
        RebuildResult b = new Rebuilder(r.store, KEYS, r.survey)
                .rebuild(true, (key, sha256, held, m) -> told.add(m.checkpoint()), new Progress());

        assertThat(f.forgotten()).hasSize(7);
        assertThat(f.kept()).hasSize(1000);
        assertThat(f.keptInAll()).isEqualTo(all - 7);
        assertThat(told).hasSize(all);
        assertThat(b.checkpoints()).hasSize(Rebuilder.MOST_TOLD).isSorted();
        assertThat(b.checkpointsInAll()).isEqualTo(all);
        assertThat(told.stream().filter(c -> !b.checkpoints().contains(c)))
                .hasSize(3)
                .noneMatch(b::tellsOf);
        assertThat(b.tellsOf("cp-1")).isTrue();
    }

    @Test
    void notesOfAPruneAreNoForgets() throws Exception {
        r.store.put(KEYS.gone("cp-x"), new byte[] {'p'}, 0, 1);

        assertThat(names(byPolicy("op-1").forgotten())).containsExactly("cp-1", "cp-2", "cp-3", "cp-4");
    }

    @Test
    void aHoldThatComesInBetweenKeepsIts_andWhatIsRemovedByThenIsTold() throws Exception {
        r.store.onDelete = key -> {
            if (key.equals(KEYS.checkpoint("cp-1"))) {
                byte[] hold = new Hold(Hold.FORMAT, "cp-2", "why", r.store.now, null).encode();
                r.store.put(KEYS.hold("cp-2"), hold, 0, hold.length);
            }
        };

        ForgetResult f = forgetter("op-1").named(List.of("cp-1", "cp-2"), List.of(), false, new Progress());

        assertThat(names(f.forgotten())).containsExactly("cp-1");
        assertThat(f.kept()).singleElement().satisfies(e -> {
            assertThat(e.checkpoint()).isEqualTo("cp-2");
            assertThat(e.reasons()).containsExactly("held");
        });
        assertThatThrownBy(() -> forgetter("op-2").named(List.of("cp-2"), List.of(), false, new Progress()))
                .isInstanceOfSatisfying(
                        StorageException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.CHECKPOINT_HELD));
    }
}
