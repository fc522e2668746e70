package io.holdfast.agent.cut;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.agent.net.Gate;
import io.holdfast.schemas.event.ErrorCode;
import org.junit.jupiter.api.Test;

class LedgerTest {
    @Test
    void ledgerThatAddsUpWithAllItHoldsKept_isAccounted() {
        assertThat(PreparedCut.accounted(new Gate.Ledger(10, 7, 2, 1, 5), 2)).isTrue();
    }

    @Test
    void frameThatIsHeldAndNotKept_orKeptAndNotHeld_isNotAccountedAlthoughTheLedgerIsExact() {
        Gate.Ledger exact = new Gate.Ledger(10, 7, 2, 1, 5);
        assertThat(exact.exact()).isTrue();
        assertThat(PreparedCut.accounted(exact, 1)).isFalse();
        assertThat(PreparedCut.accounted(exact, 3)).isFalse();
    }

    @Test
    void frameThatEnteredAndIsNowhere_isNotAccounted() {
        assertThat(PreparedCut.accounted(new Gate.Ledger(11, 7, 2, 1, 5), 2)).isFalse();
    }

    @Test
    void refusal_tellsTheGateItsLedgerAndWhatWasKept() {
        var refusal = PreparedCut.unaccounted("tap0", new Gate.Ledger(10, 7, 2, 1, 5), 3);
        assertThat(refusal.code()).isEqualTo(ErrorCode.INTERNAL);
        assertThat(refusal)
                .hasMessageContaining("tap0")
                .hasMessageContaining("held=2")
                .hasMessageContaining("3 frames kept");
    }
}
