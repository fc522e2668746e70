package io.holdfast.storage.domain;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
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
