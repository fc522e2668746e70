package io.holdfast.schemas.event;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class PaceTest {
    private static final long SECOND = 1_000_000_000L;

    @Test
    void aRateIsOfTheLastSecondsAndSaysWhatIsLeft() {
        Pace pace = new Pace();

        assertThat(pace.at(0, 1000, 0)).isEqualTo(Pace.Now.UNKNOWN);
        assertThat(pace.at(100, 1000, SECOND)).isEqualTo(new Pace.Now(100L, 9L));
        Pace.Now now = null;
        for (int s = 2; s <= 20; s++) {
            now = pace.at(100 + (s - 1) * 10, 1000, s * SECOND); // slower from now on
        }

        assertThat(now.perSecond()).isEqualTo(10);
        assertThat(now.secondsLeft()).isEqualTo(71);
    }

    @Test
    void whatStandsStillHasNoTimeLeft_andWhatIsDoneHasNone() {
        Pace pace = new Pace();
        pace.at(5, 10, 0);

        assertThat(pace.at(5, 10, SECOND)).isEqualTo(new Pace.Now(0L, null));
        assertThat(pace.at(10, 10, 2 * SECOND).secondsLeft()).isZero();
        assertThat(pace.at(1, 10, 3 * SECOND)).isEqualTo(Pace.Now.UNKNOWN);
    }
}
