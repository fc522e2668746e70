package io.holdfast.coordinator.domain;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.coordinator.domain.Placement.Candidate;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout.HostPart;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PlacementTest {
    private static final Set<String> KNOWN = Set.of("h1", "h2", "h3");

    private static Candidate host(String name, long mib) {
        return new Candidate(name, "10.0.0.1", mib << 20);
    }

    @Test
    void givenEqualHosts_vmsAreSpread() {
        var r = Placement.place(
                Fixture.spec("n", 4, Map.of()),
                Map.of(),
                List.of(host("h1", 4000), host("h2", 4000), host("h3", 4000)),
                KNOWN,
                "/p");

        assertThat(r.problems()).isEmpty();
        assertThat(r.parts()).extracting(HostPart::vms).containsExactly(List.of("a", "d"), List.of("b"), List.of("c"));
    }

    @Test
    void givenAWantedHost_theVmGoesThereAndTheOthersAround() {
        var r = Placement.place(
                Fixture.spec("n", 2, Map.of()),
                Map.of("a", "h2"),
                List.of(host("h1", 1000), host("h2", 1000)),
                KNOWN,
                "/p");

        assertThat(r.parts()).extracting(HostPart::host).containsExactly("h1", "h2");
        assertThat(r.parts().get(1).vms()).containsExactly("a");
    }

    @Test
    void givenTooLittleMemory_theProblemSaysHowMuchIsLeft() {
        var r = Placement.place(Fixture.spec("n", 2, Map.of()), Map.of(), List.of(host("h1", 300)), KNOWN, "/p");

        assertThat(r.problems()).singleElement().satisfies(p -> {
            assertThat(p.code()).isEqualTo(ErrorCode.NO_CAPACITY);
            assertThat(p.message()).contains("44 MiB on h1");
        });
    }

    @Test
    void givenWrongWishes_everyProblemIsTold() {
        var r = Placement.place(
                Fixture.spec("n", 2, Map.of()),
                Map.of("a", "h9", "b", "h3", "z", "h1"),
                List.of(host("h1", 1000)),
                KNOWN,
                "/p");

        assertThat(r.problems())
                .extracting(p -> p.field() + " " + p.code() + " " + p.message())
                .containsExactly(
                        "/p/a HOST_UNAVAILABLE no host h9 is known",
                        "/p/b HOST_UNAVAILABLE host h3 has not been heard of lately",
                        "/p/z INVALID_EVENT network n has no VM z");
    }

    @Test
    void givenNoHost_theProblemSaysSo() {
        var r = Placement.place(Fixture.spec("n", 1, Map.of()), Map.of(), List.of(), Set.of(), "/p");

        assertThat(r.problems()).singleElement().satisfies(p -> assertThat(p.code())
                .isEqualTo(ErrorCode.HOST_UNAVAILABLE));
    }

    @Test
    void givenUsedVnis_theyAreNotChosenAgain() {
        var spec = Fixture.spec("n", 1, Map.of());
        int first = Vnis.choose("op-1", spec, Set.of(), 10, 12).get("lan");

        assertThat(Vnis.choose("op-1", spec, Set.of(first), 10, 12).get("lan"))
                .isNotEqualTo(first)
                .isBetween(10, 12);
    }
}
