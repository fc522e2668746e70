package io.holdfast.storage.maintenance;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.domain.ChunkCodec;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is needed of packs is in others after they were rewritten, each chunk once; a broken pack stays as it is. */
class RepackerTest {
    private static final int CHUNK = 4096;
    private static final Keys KEYS = new Keys("p");
    private static final ChunkCodec RAW = new ChunkCodec() {
        @Override
        public int compress(byte[] source, int offset, int length, byte[] target, int at, int room) {
            return -1;
        }

        @Override
        public boolean decompress(ByteBuffer source, byte[] target, int at, int length) {
            return false;
        }
    };

    private final SimStore store = new SimStore(() -> {});
    private final Repository repository = new Repository(store, KEYS, CHUNK, null);
    private final Survey survey = new Survey(store, KEYS, repository);

    @BeforeEach
    void make() throws StorageException {
        repository.open();
    }

    private Table pack(int... contents) {
        var b = new PackFormat.Builder(1 << 20, CHUNK, Vault.NONE);
        for (int n : contents) {
            byte[] data = content(n);
            b.add(ChunkId.of(data), data, 0, CHUNK, RAW);
        }
        Table t = b.seal();
        store.put(KEYS.pack(t.id()), b.bytes(), 0, b.length());
        return t;
    }

    private static byte[] content(int n) {
        byte[] data = new byte[CHUNK];
        new Random(n).nextBytes(data);
        return data;
    }

    private static ChunkId id(int n) {
        return ChunkId.of(content(n));
    }

    private Repacker repacker() {
        return new Repacker(store, KEYS, survey, new Keeper.Repack(3 * CHUNK, 5, 1 << 30));
    }

    private List<Integer> indexed(int most) throws StorageException {
        var there = new ArrayList<Integer>();
        for (ChunkId index : survey.indexes().keySet()) {
            survey.index(index, t -> {
                byte[] data = store.get(KEYS.pack(t.id()), 1 << 24);
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
        List<Table> packs = List.of(pack(0, 1, 2, 3), pack(3, 4, 5, 6), pack(6, 7, 8, 9, 10, 11), pack(12));
        var needed = new LongSet();
        for (int n : new int[] {1, 3, 4, 6, 8, 9, 10, 11}) {
            needed.add(id(n));
        }
        var elsewhere = new ChunkIndex();
        elsewhere.add(pack(9));
        List<ChunkId> ids = packs.stream().map(Table::id).toList();
        var progress = new Progress();

        Repacker.Done done = repacker().empty(ids, needed, elsewhere, progress);

        assertThat(done.emptied()).containsExactlyInAnyOrderElementsOf(ids);
        assertThat(indexed(13)).containsExactlyInAnyOrder(1, 3, 4, 6, 8, 10, 11);
        assertThat(done.newBytes()).isBetween(7L * CHUNK, 8L * CHUNK);
        assertThat(progress.done()).isEqualTo(4);
        assertThat(survey.packs().keySet()).containsAll(ids);
    }

    @Test
    void aBrokenPackIsNotEmptied_norOneThatIsGone() throws Exception {
        Table good = pack(0, 1);
        Table bad = pack(2, 3);
        Table gone = pack(4, 5);
        store.peek(KEYS.pack(bad.id()))[100] ^= 1;
        store.delete(KEYS.pack(gone.id()));
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
