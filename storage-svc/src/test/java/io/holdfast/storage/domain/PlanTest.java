package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.storage.domain.FetchPlan.Fetch;
import io.holdfast.storage.domain.FetchPlan.Target;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class PlanTest {
    private static ChunkId id(Random r) {
        return new ChunkId(r.nextLong(), r.nextLong(), r.nextLong(), r.nextLong());
    }

    private static List<Table> tables(Random random, int packs, int chunks) {
        List<Table> list = new ArrayList<>();
        for (int p = 0; p < packs; p++) {
            List<Entry> entries = new ArrayList<>();
            for (int c = 0; c < chunks; c++) {
                entries.add(new Entry(id(random), 65536, 1 + random.nextInt(65536), PackFormat.ZSTD));
            }
            list.add(new Table(id(random), entries));
        }
        return list;
    }

    private static void add(ChunkIndex index, List<Table> tables) throws StorageException {
        for (Table t : tables) {
            index.add(t);
        }
    }

    @Test
    void everyChunkOfManyPacksIsFoundWhereItIsAndNoOther() throws StorageException {
        Random random = new Random(1);
        List<Table> tables = tables(random, 160, 400);
        int[] given = new int[1];
        ChunkIndex index = new ChunkIndex(bytes -> {
            given[0]++;
            return ByteBuffer.allocateDirect(bytes);
        });

        add(index, tables);
        add(index, tables);

        assertThat(index.size()).isEqualTo(64_000);
        assertThat(index.packs()).isEqualTo(160);
        for (Table t : tables) {
            int offset = PackFormat.HEADER;
            for (Entry e : t.entries()) {
                assertThat(index.find(e.id()))
                        .isEqualTo(new ChunkIndex.Place(t.id(), offset, e.storedBytes(), e.plainBytes(), e.encoding()));
                offset += e.storedBytes();
            }
        }
        assertThat(given[0]).as("room taken beyond the heap").isPositive();
        assertThat(index.contains(id(random))).isFalse();
        assertThat(index.find(id(random))).isNull();
    }

    @Test
    void chunksOfAPackThatGoesAreFoundInOneThatStays_andThoseOfNoOtherWhereTheyWere() throws StorageException {
        Random random = new Random(2);
        List<Table> tables = tables(random, 3, 20);
        Table old = tables.get(0);
        Table copy = new Table(tables.get(1).id(), old.entries().subList(5, 15).reversed());
        Table gone = new Table(tables.get(2).id(), old.entries().subList(0, 10));
        ChunkIndex index = new ChunkIndex();
        add(index, List.of(old, copy, gone));
        ChunkIndex.Judge judge = (pack, bytes) -> pack.equals(gone.id())
                ? ChunkIndex.Standing.GONE
                : pack.equals(old.id()) ? ChunkIndex.Standing.GOING : ChunkIndex.Standing.WELL;

        assertThat(index.judge(judge)).isTrue();
        for (Table t : List.of(gone, old, copy)) {
            index.again(t);
        }

        assertThat(index.judge(judge)).as("worse than before").isFalse();
        assertThat(index.size()).isEqualTo(20);
        assertThat(index.packBytes(copy.id())).isEqualTo(copy.objectBytes());
        for (int i = 0; i < 20; i++) {
            Entry e = old.entries().get(i);
            assertThat(index.find(e.id()).pack()).isEqualTo(i >= 5 && i < 15 ? copy.id() : old.id());
        }
        assertThat(index.find(old.entries().get(14).id()).offset()).isEqualTo(PackFormat.HEADER);
    }

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void everyTargetIsReadOnceAndNoReadIsTooLong(long seed) throws StorageException {
        Random random = new Random(seed);
        ChunkIndex index = new ChunkIndex();
        List<Table> tables = tables(random, 4, 50);
        add(index, tables);
        List<Target> targets = new ArrayList<>();
        for (Table t : tables) {
            for (Entry e : t.entries()) {
                for (int n = random.nextInt(3); n > 0; n--) {
                    targets.add(new Target(e.id(), index.find(e.id()), 0, random.nextInt(1000) * 65536L, 65536));
                }
            }
        }
        Map<Target, Integer> wanted = new HashMap<>();
        targets.forEach(t -> wanted.merge(t, 1, Integer::sum));

        List<Fetch> plan = FetchPlan.of(targets, 10_000, 300_000);

        Map<Target, Integer> got = new HashMap<>();
        for (Fetch f : plan) {
            assertThat(f.length()).isLessThanOrEqualTo(300_000);
            for (Target t : f.targets()) {
                assertThat(t.place().pack()).isEqualTo(f.pack());
                assertThat(t.place().offset()).isGreaterThanOrEqualTo(f.offset());
                assertThat(t.place().offset() + t.place().storedBytes()).isLessThanOrEqualTo(f.offset() + f.length());
                got.merge(t, 1, Integer::sum);
            }
        }
        assertThat(got).isEqualTo(wanted);
    }

    @Test
    void wholePackIsReadInFewRequests() throws StorageException {
        ChunkIndex index = new ChunkIndex();
        Table t = tables(new Random(3), 1, 250).get(0);
        index.add(t);
        List<Target> targets = new ArrayList<>();
        for (Entry e : t.entries()) {
            targets.add(new Target(e.id(), index.find(e.id()), 0, 0, 65536));
        }

        assertThat(FetchPlan.of(targets, 128 * 1024, 4 << 20)).hasSizeLessThanOrEqualTo(3);
    }

    @Test
    void namesThatCouldLeaveAFolderAreRefused() {
        for (String bad : new String[] {"..", ".", "a/b", "/a", "", "A", "-a", "a-", "a\nb", "x".repeat(41), null}) {
            assertThat(Names.valid(bad)).as(bad).isFalse();
            assertThatThrownBy(() -> Names.require("vm", bad)).isInstanceOf(StorageException.class);
        }
        for (String good : new String[] {"a", "cp-20260101t000000z-abcdef", "x".repeat(40)}) {
            assertThat(Names.valid(good)).as(good).isTrue();
        }
        for (String bad : new String[] {"..", ".x", "a/b", "archived", "", "a b", null}) {
            assertThat(Names.validFile(bad)).as(bad).isFalse();
        }
        for (String good : new String[] {"ram.img", "disk-vda.raw", "frames-0.pcapng", "machine.json"}) {
            assertThat(Names.validFile(good)).as(good).isTrue();
        }
    }
}
