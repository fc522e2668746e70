package io.holdfast.storage.maintenance;

import static io.holdfast.storage.maintenance.SimRepository.CHUNK;
import static io.holdfast.storage.maintenance.SimRepository.KEYS;
import static io.holdfast.storage.maintenance.SimRepository.RAW;
import static io.holdfast.storage.maintenance.SimRepository.id;
import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is needed of packs is in others after they were rewritten, each chunk once; a broken pack stays as it is. */
class RepackerTest {
    private SimRepository r;

    @BeforeEach
    void make() throws StorageException {
        r = new SimRepository();
    }

    private Repacker repacker() {
        return new Repacker(r.store, KEYS, r.survey, new Keeper.Repack(3 * CHUNK, 5, 0, 1 << 30));
    }

    private List<Integer> indexed(int most) throws StorageException {
        var there = new ArrayList<Integer>();
        for (ChunkId index : r.survey.indexes().keySet()) {
            r.survey.index(index, t -> {
                byte[] data = r.store.get(KEYS.pack(t.id()), 1 << 24);
                PackFormat.read(KEYS.pack(t.id()), t.id(), data, Vault.NONE);
                int at = PackFormat.HEADER;
                for (Entry e : t.content()) {
                    byte[] plain = new byte[CHUNK];
                    PackFormat.unpack("x", Vault.NONE, RAW, e, data, at, new byte[CHUNK], plain);
                    at += e.storedBytes();
                    for (int n = 0; n < most; n++) {
                        if (id(n).equals(e.id())) {
                            there.add(n);
                        }
                    }
                }
            });
        }
        return there;
    }

    @Test
    void eachNeededChunkIsCopiedOnce_whatOthersHaveIsNot_andOldPacksStay() throws Exception {
        List<Table> packs = List.of(r.pack(0, 1, 2, 3), r.pack(3, 4, 5, 6), r.pack(6, 7, 8, 9, 10, 11), r.pack(12));
        var needed = new LongSet();
        for (int n : new int[] {1, 3, 4, 6, 8, 9, 10, 11}) {
            needed.add(id(n));
        }
        var elsewhere = new ChunkIndex();
        elsewhere.add(r.pack(9));
        List<ChunkId> ids = packs.stream().map(Table::id).toList();
        var progress = new Progress();

        Repacker.Done done = repacker().empty(ids, needed, elsewhere, progress);

        assertThat(done.emptied()).containsExactlyInAnyOrderElementsOf(ids);
        assertThat(indexed(13)).containsExactlyInAnyOrder(1, 3, 4, 6, 8, 10, 11);
        assertThat(done.newBytes()).isBetween(7L * CHUNK, 8L * CHUNK);
        assertThat(progress.done()).isEqualTo(4);
        assertThat(r.survey.packs().keySet()).containsAll(ids);
    }

    @Test
    void aBrokenPackIsNotEmptied_norOneThatIsGone() throws Exception {
        Table good = r.pack(0, 1);
        Table bad = r.pack(2, 3);
        Table gone = r.pack(4, 5);
        r.store.peek(KEYS.pack(bad.id()))[100] ^= 1;
        r.store.delete(KEYS.pack(gone.id()));
        var needed = new LongSet();
        for (int n : new int[] {0, 2, 4}) {
            needed.add(id(n));
        }

        Repacker.Done done =
                repacker().empty(List.of(bad.id(), gone.id(), good.id()), needed, new ChunkIndex(), new Progress());

        assertThat(done.emptied()).containsExactly(good.id());
        assertThat(indexed(6)).containsExactly(0);
    }
}
