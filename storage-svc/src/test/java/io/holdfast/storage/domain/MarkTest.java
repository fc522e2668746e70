package io.holdfast.storage.domain;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.storage.SmallHeap;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Marks, and the set that tells what is needed. */
class MarkTest {
    @Test
    void aMarkComesBackTheSame() throws Exception {
        Mark m = new Mark(1, List.of("ab".repeat(32)), List.of("vms/cp/a.hfvm"));

        assertThat(Mark.decode("gc/mark-1", m.encode())).isEqualTo(m);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{}",
                "[]",
                "null",
                "{\"format\":2,\"packs\":[],\"manifests\":[]}",
                "{\"format\":1,\"packs\":[\"../config\"],\"manifests\":[]}",
                "{\"format\":1,\"packs\":[null],\"manifests\":[]}",
                "{\"format\":1,\"manifests\":[]}",
                "{\"format\":1,\"packs\":[],\"manifests\":[],\"more\":1}"
            })
    void whatIsNoMarkIsRefusedByName(String text) {
        assertThatThrownBy(() -> Mark.decode("gc/mark-1", text.getBytes(UTF_8)))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("gc/mark-1");
    }

    @ParameterizedTest
    @CsvSource({"gc/mark-1, is marked again", "gc/sweep-1, when no prune is at work"})
    void whoMeetsABrokenOneIsToldWhatIsSafe(String key, String remedy) throws Exception {
        byte[] data = new Mark(1, List.of("ab".repeat(32)), List.of()).encode();
        data[3] ^= 1;

        assertThatThrownBy(() -> Mark.decode(key, data))
                .isInstanceOfSatisfying(
                        StorageException.class, e -> assertThat(e.remedy()).contains(remedy));
    }

    @Test
    void whatIsTooMuchForOneIsInSeveral_allOfItOnce_andEachCanBeRead() throws Exception {
        List<String> packs = IntStream.range(0, Mark.MOST + 7)
                .mapToObj(i -> String.format("%064x", i))
                .toList();
        List<String> manifests = IntStream.range(0, Mark.MOST)
                .mapToObj(i -> "vms/" + "c".repeat(34) + String.format("%06d", i) + "/" + "v".repeat(40) + ".hfvm")
                .toList();

        List<Mark> marks = Mark.of(packs, manifests);

        assertThat(marks).hasSize(3);
        assertThat(marks.stream().flatMap(m -> m.packs().stream())).containsExactlyElementsOf(packs);
        assertThat(marks.stream().flatMap(m -> m.manifests().stream())).containsExactlyElementsOf(manifests);
        for (Mark m : marks) {
            byte[] data = m.encode();
            assertThat(data).hasSizeLessThan(Limits.MAX_MARK);
            assertThat(Mark.decode("gc/mark-1", data)).isEqualTo(m);
        }
        assertThat(Mark.of(List.of(), List.of())).isEmpty();
        assertThat(Mark.of(packs.subList(0, 1), List.of())).hasSize(1);
    }

    @Test
    void noObjectThatIsJsonIsTooMuchForASmallHeap() throws Exception {
        assertThat(SmallHeap.run("256m", HostileJson.class)).contains("READ ALL", "object gc/mark-x: not a mark");
    }

    @Test
    void aFieldThatIsWrongIsNamed_andSoIsANewerFormat() {
        assertThatThrownBy(() -> Mark.decode(
                        "gc/mark-1", "{\"format\":1,\"packs\":[],\"manifests\":[],\"more\":1}".getBytes(UTF_8)))
                .hasMessageContaining("gc/mark-1")
                .hasMessageContaining("not a mark")
                .hasMessageContaining("in field \"more\"");
        assertThatThrownBy(() -> Mark.decode("gc/mark-1", "{\"format\":2,\"more\":1}".getBytes(UTF_8)))
                .hasMessageContaining("gc/mark-1")
                .hasMessageContaining("format 2 is unknown, this code reads 1");
    }

    @Test
    void theSetHoldsWhatWasAdded_zeroToo_throughEveryGrowth() throws StorageException {
        LongSet set = new LongSet();
        Set<Long> model = new HashSet<>();
        Random random = new Random(3);
        for (int i = 0; i < 50_000; i++) {
            long v = i % 3 == 0 ? random.nextInt(1000) : random.nextLong();
            assertThat(set.add(v)).isEqualTo(model.add(v));
        }
        assertThat(set.size()).isEqualTo(model.size());
        assertThat(model).allMatch(set::contains);
        assertThat(set.contains(0)).isEqualTo(model.contains(0L));
        assertThat(random.longs(1000).filter(v -> !model.contains(v))).noneMatch(set::contains);
    }
}
