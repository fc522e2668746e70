package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import org.junit.jupiter.api.Test;

class ConsoleTest {
    private static final String CLEAN = "RX last=9 got=8 lost=0 old=0 repeated=0 reordered=0 port=9002\r\n";

    @Test
    void wholeLinesAreRead() {
        // Given
        String log = "4 hash=98fc7a1764d559cd ok\r\nRING count=1 hash=c698ef9c86dae475 ok\r\n" + CLEAN
                + "CLOCK max_us=4090 ever_us=29742 over10ms=4 ticks=8219\r\nRING count=2 ha";
        // When
        Console c = Console.parse(log);
        // Then
        assertThat(c.ring()).containsExactly(new Console.Ring(1, "c698ef9c86dae475"));
        assertThat(c.lastReceived()).hasValue(new Console.Received(9, 8, 0, 0, 0, 9002));
        assertThat(c.clock()).containsExactly(4090L);
        assertThat(c.faults()).isEmpty();
    }

    @Test
    void emptyLogIsEmpty() {
        assertThat(Console.parse("").ring()).isEmpty();
    }

    @Test
    void brokenGuestsAreFaults() {
        // Given
        String log = """
                RING BROKEN wrong-bytes count=7 errno=0
                GAP port=9002 at=4 missing=1
                HF-EXIT ring status=1
                MEMORY BROKEN page=1 generation=2
                BULK BROKEN wrong-bytes port=9100 at=65536 errno=0
                WRONG port=88 number=4 bytes=96
                COOKIE SEEN device=eth0 count=1 bytes=96
                """;
        // When
        Console c = Console.parse(log);
        // Then
        assertThat(c.faults()).hasSize(7);
    }

    @Test
    void chainIsTheGuests() {
        // Given: what a guest printed
        Chain chain = new Chain();
        // When, Then
        assertThat(chain.hash(4)).isEqualTo("98fc7a1764d559cd");
        assertThat(chain.hash(1)).isEqualTo("c698ef9c86dae475");
        assertThat(chain.hash(1605)).isEqualTo("776fd6e735f15ac4");
    }

    @Test
    void wrongHashOrLossOrStepBackIsAFault() {
        // Given
        RingWatch watch = new RingWatch(null, null);
        String good = "RING count=1 hash=c698ef9c86dae475 ok\n";
        // When, Then
        assertThat(watch.faults(Map.of("a", Console.parse(good + CLEAN)))).isEmpty();
        assertThat(watch.faults(Map.of("a", Console.parse("RING count=1 hash=0000000000000000 ok\n"))))
                .hasSize(1);
        assertThat(watch.faults(Map.of("a", Console.parse("RING count=4 hash=98fc7a1764d559cd ok\n" + good))))
                .hasSize(1);
        assertThat(watch.faults(Map.of("a", Console.parse(CLEAN.replace("lost=0", "lost=1")))))
                .hasSize(1);
        assertThat(watch.faults(Map.of("a", Console.parse(CLEAN.replace("repeated=0", "repeated=1")))))
                .hasSize(1);
        assertThat(watch.faults(Map.of("a", Console.parse(CLEAN.replace("reordered=0", "reordered=1")))))
                .hasSize(1);
    }

    @Test
    void everyStreamIsLookedAtByItself() {
        // Given: one stream of two has lost something, and its line is not the last
        String log = CLEAN.replace("lost=0", "lost=1").replace("9002", "9003") + CLEAN;
        RingWatch watch = new RingWatch(null, null);
        // When, Then
        assertThat(Console.parse(log).lastByPort()).containsOnlyKeys(9002, 9003);
        assertThat(watch.faults(Map.of("a", Console.parse(log)))).hasSize(1);
        // and a restart that goes back behind what one stream had got is a fault
        String ring = "RING count=1 hash=c698ef9c86dae475 ok\n";
        Map<String, Console> before =
                Map.of("a", Console.parse(ring + CLEAN + "BULK got=131072 ok port=9100 large=3\n"));
        Map<String, Console> good = Map.of("a", Console.parse(ring + CLEAN + "BULK got=131072 ok port=9100 large=3\n"));
        assertThat(watch.restartFaults(before, before, good)).isEmpty();
        Map<String, Console> back = Map.of(
                "a",
                Console.parse(
                        ring + CLEAN.replace("last=9", "last=8") + "BULK got=65536 ok port=9100 large=3\n" + CLEAN));
        assertThat(watch.restartFaults(before, before, back)).hasSize(2);
    }

    @Test
    void restartFromElsewhereThanTheCheckpointIsAFault() {
        // Given
        RingWatch watch = new RingWatch(null, null);
        Map<String, Console> at1 = Map.of("a", Console.parse("RING count=1 hash=c698ef9c86dae475 ok\n"));
        Map<String, Console> at4 = Map.of("a", Console.parse("RING count=4 hash=98fc7a1764d559cd ok\n"));
        Map<String, Console> at1605 = Map.of("a", Console.parse("RING count=1605 hash=776fd6e735f15ac4 ok\n"));
        // When, Then
        assertThat(watch.restartFaults(at1, at4, at4)).isEmpty();
        assertThat(watch.restartFaults(at4, at1605, at1)).hasSize(1);
        assertThat(watch.restartFaults(at1, at4, at1605)).hasSize(1);
    }
}
