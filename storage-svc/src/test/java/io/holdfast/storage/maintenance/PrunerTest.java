package io.holdfast.storage.maintenance;

import static io.holdfast.storage.maintenance.SimRepository.CHUNK;
import static io.holdfast.storage.maintenance.SimRepository.GRACE;
import static io.holdfast.storage.maintenance.SimRepository.KEYS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a prune chooses to rewrite, what a dry run says and leaves alone, and what it asks the bucket. */
class PrunerTest {
    /** A pack is full with eight chunks. */
    private static final int FULL = 8 * CHUNK;

    private SimRepository r;

    @BeforeEach
    void make() throws StorageException {
        r = new SimRepository();
    }

    private static Keeper.Repack policy(int smallPercent, long mostBytes) {
        return new Keeper.Repack(FULL, 0, smallPercent, mostBytes);
    }

    private PruneResult prune(Keeper.Repack policy) throws StorageException {
        return r.prune(policy, false);
    }

    private void later() {
        r.store.now = r.store.now.plus(GRACE.multipliedBy(2));
    }

    /** Packs of one chunk, all of them needed. */
    private void small(int first, int count) throws StorageException {
        for (int n = first; n < first + count; n++) {
            r.index(r.pack(n));
        }
        r.checkpoint("cp-" + first, IntStream.range(first, first + count).toArray());
        later();
    }

    @Test
    void noBytesToRewriteMeansNoPack_andFewMeanOnePack() throws Exception {
        r.index(r.pack(1, 2, 3, 4), r.pack(5, 6, 7, 8));
        r.checkpoint("cp-1", 1, 5);
        later();

        assertThat(prune(policy(100, 0)).repackedPacks()).isZero();
        assertThat(r.store.keys(KEYS.gc())).isEmpty();
        assertThat(prune(policy(100, 1)).repackedPacks()).isEqualTo(1);
        assertThat(prune(policy(100, 1)).repackedPacks()).isEqualTo(1);
    }

    @Test
    void settingsThatMakeNoSenseAreRefusedByName() {
        assertThatThrownBy(() -> policy(25, -1)).hasMessageContaining("holdfast.storage.max-repack-bytes");
        assertThatThrownBy(() -> policy(-1, 1)).hasMessageContaining("holdfast.storage.repack-small-percent");
        assertThatThrownBy(() -> policy(101, 1)).hasMessageContaining("holdfast.storage.repack-small-percent");
        assertThatThrownBy(() -> new Keeper.Repack(FULL, 101, 25, 1))
                .hasMessageContaining("holdfast.storage.max-unused-percent");
    }

    @Test
    void aChunkOfTwoPacksThatAreRewrittenIsToldOnce_asItIsCopied() throws Exception {
        r.index(r.pack(1, 2, 3, 4), r.pack(1, 5, 6, 7, 8));
        r.index(r.pack(9, 1));
        r.checkpoint("cp-1", 1, 2, 5, 9);
        later();

        PruneResult dry = r.prune(policy(0, 1 << 30), true);

        assertThat(dry.repackedPacks()).isEqualTo(2);
        assertThat(dry.copiedBytes()).as("1 is in a pack that stays").isEqualTo(2 * CHUNK);
        r.store.delete(r.store.keys(KEYS.checkpoints()).get(0));
        r.checkpoint("cp-2", 1, 2, 5);
        dry = r.prune(policy(0, 1 << 30), true);
        assertThat(dry.copiedBytes()).as("1, 2 and 5, each once").isEqualTo(3 * CHUNK);
        PruneResult done = prune(policy(0, 1 << 30));
        assertThat(done.copiedBytes()).isBetween(3L * CHUNK, 4L * CHUNK);
    }

    @Test
    void aDryRunChangesNothingInTheBucket_alsoNoNotesOfPrunesThatDiedLongAgo() throws Exception {
        r.index(r.pack(1, 2, 3), r.pack(4));
        r.checkpoint("cp-1", 1);
        for (String note : List.of("run-old", "sweep-old", "mark-old")) {
            byte[] data = "{\"format\":1,\"packs\":[],\"manifests\":[]}".getBytes(StandardCharsets.UTF_8);
            r.store.put(KEYS.gc() + note, data, 0, data.length);
        }
        r.store.now = r.store.now.plus(Duration.ofDays(9));
        List<String> changed = new ArrayList<>();
        r.store.onPut = changed::add;
        r.store.onDelete = changed::add;

        PruneResult dry = r.prune(policy(25, 1 << 30), true);

        assertThat(changed).isEmpty();
        assertThat(dry.markedPacks()).isEqualTo(1);
        assertThat(dry.repackedPacks()).isEqualTo(1);
        assertThat(prune(policy(25, 1 << 30)).markedPacks()).isEqualTo(1);
        assertThat(changed).contains(KEYS.gc() + "run-old", KEYS.gc() + "sweep-old", KEYS.gc() + "mark-old");
    }

    @Test
    void whatTheBucketKeepsOfItselfIsNotAskedFor_oneRequestPerPackThatMayGo() throws Exception {
        r.store.locks = new TreeMap<>();
        r.store.retention = Duration.ofDays(30);
        Instant created = r.store.seconds();
        Table little = r.pack(1, 2, 3, 4, 5, 6, 7, 8);
        Table none = r.pack(9);
        r.index(little, none);
        r.checkpoint("cp-1", 1);
        var asked = new ArrayList<String>();
        r.store.onLockedUntil = asked::add;
        later();
        assertThat(prune(policy(0, 1 << 30)).markedPacks()).isEqualTo(1);
        later();

        PruneResult p = prune(policy(0, 1 << 30));

        assertThat(asked).isEmpty();
        assertThat(p.repackedPacks()).isZero();
        assertThat(p.waitingPacks()).isEqualTo(1);
        assertThat(p.nextAt()).isEqualTo(created.plus(Duration.ofDays(30)));

        // when that is over, a hold may still lock it: then it is asked
        r.store.now = r.store.now.plus(Duration.ofDays(30));
        r.store.locks.put(KEYS.pack(little.id()), r.store.now.plus(GRACE));
        p = prune(policy(0, 1 << 30));
        assertThat(asked).containsExactlyInAnyOrder(KEYS.pack(little.id()), KEYS.pack(none.id()));
        assertThat(p.deletedPacks()).isEqualTo(1);
        assertThat(p.repackedPacks()).isZero();
    }

    @Test
    void smallPacksAreJoinedWhenTheyFillOne_andNothingIsWrittenAgainForNothing() throws Exception {
        small(1, 7);
        assertThat(prune(policy(25, 1 << 30)).repackedPacks())
                .as("do not fill a pack")
                .isZero();
        small(11, 2);
        assertThat(prune(policy(0, 1 << 30)).repackedPacks())
                .as("not to be joined")
                .isZero();

        PruneResult p = prune(policy(25, 1 << 30));

        assertThat(p.repackedPacks()).isEqualTo(9);
        assertThat(p.copiedBytes()).isBetween(9L * CHUNK, 10L * CHUNK);
        assertThat(r.store.keys(KEYS.packs())).hasSize(11);
        later();
        assertThat(prune(policy(25, 1 << 30)).deletedPacks()).isEqualTo(9);
        for (int i = 0; i < 3; i++) {
            later();
            assertThat(prune(policy(25, 1 << 30)).repackedPacks()).isZero();
        }
        assertThat(r.store.keys(KEYS.packs())).hasSize(2);
        assertThat(r.store.keys(KEYS.gc())).isEmpty();
    }

    @Test
    void tenSmallPacksAreJoinedAlthoughTheyDoNotFillOne_noMoreThanMayBeRewrittenAtATime() throws Exception {
        var large = new Keeper.Repack(100 * CHUNK, 0, 25, 11L * (CHUNK + 500));
        small(1, 9);
        assertThat(prune(large).repackedPacks()).isZero();
        small(11, 14);

        assertThat(prune(large).repackedPacks()).isBetween(10, 11);
        later();
        assertThat(prune(large).repackedPacks()).isBetween(10, 11);
        later();
        for (int i = 0; i < 3; i++) {
            later();
            assertThat(prune(large).repackedPacks()).isZero();
        }
        assertThat(r.store.keys(KEYS.packs())).hasSizeLessThan(6);
    }

    @Test
    void packsThatTheBucketRetainsAreNotJoined_norYoungOnes_andTheyAreNotCounted() throws Exception {
        small(1, 8);
        r.store.locks = new TreeMap<>();
        String locked = r.store.keys(KEYS.packs()).get(0);
        r.store.locks.put(locked, r.store.now.plus(Duration.ofDays(1000)));
        for (int i = 0; i < 3; i++) {
            assertThat(prune(policy(25, 1 << 30)).repackedPacks()).isZero();
            later();
        }
        r.index(r.pack(20));
        r.checkpoint("cp-20", 20);
        assertThat(prune(policy(25, 1 << 30)).repackedPacks()).as("young").isZero();
        later();

        assertThat(prune(policy(25, 1 << 30)).repackedPacks()).isEqualTo(8);
        later();
        prune(policy(25, 1 << 30));
        assertThat(r.store.keys(KEYS.packs())).contains(locked).hasSize(2);
    }

    @Test
    void aPackThatIsFullOfTinyChunksIsNotSmall() throws Exception {
        int most = PackFormat.mostChunks(FULL);
        var all = new ArrayList<ChunkId>();
        for (int pack = 0; pack < 12; pack++) {
            var b = new PackFormat.Builder(FULL, CHUNK, Vault.NONE);
            for (int i = 0; !b.isFull(); i++) {
                byte[] tiny = {(byte) pack, (byte) i};
                ChunkId id = ChunkId.of(tiny);
                all.add(id);
                b.add(id, tiny, 0, tiny.length, SimRepository.RAW);
            }
            Table t = b.seal();
            r.store.put(KEYS.pack(t.id()), b.bytes(), 0, b.length());
            r.index(t);
            assertThat(b.length()).isLessThan(FULL / 4);
            assertThat(t.content()).hasSize(most);
        }
        r.checkpointOf("cp-1", all);
        later();

        assertThat(prune(policy(25, 1 << 30)).repackedPacks()).isZero();
    }
}
