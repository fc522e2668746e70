package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Every reader of the repository against broken and hostile objects: bit flips, truncations, insertions, random edits and absurd
 * numbers, with digests made right again where somebody who can write to the bucket would. A reader answers with what the object
 * holds or with a {@link StorageException} that names it; never with another exception, never with much memory. Seeds are fixed.
 */
class FuzzTest {
    private static final String CP = "cp-20260101t000000z-abcdef";
    private static final ChunkCodec ZSTD = new ZstdCodec(1);
    private static final int ROUNDS = 2000;
    private static final byte[] SCRATCH = new byte[Limits.MAX_CHUNK + Vault.OVERHEAD];
    private static final byte[] PLAIN = new byte[Limits.MAX_CHUNK];

    /** What is read, and what makes its digests right after a change. */
    private record Subject(String name, byte[] good, Reading reading, Fix fix) {}

    private interface Reading {
        void of(byte[] object) throws StorageException;
    }

    private interface Fix {
        void right(byte[] object);
    }

    private static Vault sealed() {
        try {
            return RepositoryConfig.create("r", Instant.EPOCH, 4096, WrapKey.parse(WrapKey.random(), "test"))
                    .vault();
        } catch (StorageException e) {
            throw new AssertionError(e);
        }
    }

    private static byte[] chunk(int i) {
        byte[] c = new byte[1000 + i];
        if (i % 2 == 0) {
            new Random(i).nextBytes(c);
        } else {
            Arrays.fill(c, (byte) i);
        }
        return c;
    }

    private static byte[] pack(Vault v, Table[] out) {
        PackFormat.Builder b = new PackFormat.Builder(1 << 20, 4096, v);
        for (int i = 0; i < 6; i++) {
            byte[] c = chunk(i);
            b.add(v.chunkId(c, 0, c.length), c, 0, c.length, ZSTD);
        }
        out[0] = b.seal();
        return Arrays.copyOf(b.bytes(), b.length());
    }

    private static void digestAtEnd(byte[] object) {
        int body = object.length - ChunkId.BYTES;
        if (body >= 0) {
            ChunkId.of(object, 0, body).write(ByteBuffer.wrap(object, body, ChunkId.BYTES));
        }
    }

    private static void tableDigest(byte[] pack) {
        int end = pack.length - PackFormat.TRAILER;
        if (end < 0) {
            return;
        }
        long chunks = ByteBuffer.wrap(pack).getInt(pack.length - 8);
        long from = end - chunks * PackFormat.ENTRY;
        if (chunks >= 0 && from >= 0) {
            ChunkId.of(pack, (int) from, (int) (end - from)).write(ByteBuffer.wrap(pack, end, ChunkId.BYTES));
        }
    }

    private static List<Subject> subjects() {
        Table[] table = new Table[1];
        byte[] pack = pack(Vault.NONE, table);
        Vault vault = sealed();
        byte[] sealedPack = pack(vault, new Table[1]);
        byte[] index = IndexFormat.encode(List.of(table[0], new Table(ChunkId.of(new byte[1]), List.of())));
        byte[] ids = new byte[3 * ChunkId.BYTES];
        new Random(9).nextBytes(ids);
        byte[] vm = new VmManifest(
                        CP,
                        "vm-a",
                        4096,
                        List.of(
                                new VmManifest.File("machine.json", 77, ChunkId.of(new byte[2]), List.of()),
                                new VmManifest.File(
                                        "ram.img",
                                        100 * 4096 + 5,
                                        null,
                                        List.of(new VmManifest.Run(1, ids), new VmManifest.Run(90, ids)))))
                .encode();
        byte[] config = RepositoryConfig.create("r", Instant.EPOCH, 65536, null)
                .config()
                .encode();
        byte[] encrypted;
        try {
            encrypted = RepositoryConfig.create("r", Instant.EPOCH, 65536, WrapKey.parse(WrapKey.random(), "test"))
                    .config()
                    .encode();
        } catch (StorageException e) {
            throw new AssertionError(e);
        }
        Keys keys = new Keys("p");
        byte[] checkpoint = Manifests.encode(new CheckpointManifest(
                1,
                CP,
                "net",
                "label",
                Instant.EPOCH,
                new InstanceLayout("net", null, List.of(), Map.of("lan", 1)),
                List.of(new VmArchive("a", keys.vm(CP, "a"), ChunkId.of(vm).hex())),
                List.of(),
                new CutFigures(List.of())));
        Fix none = o -> {};
        return List.of(
                new Subject("packs/x", pack, o -> readAll(o, Vault.NONE), FuzzTest::tableDigest),
                new Subject("packs/x", sealedPack, o -> readAll(o, vault), none),
                new Subject("index/x", index, o -> IndexFormat.decode("index/x", o, false), FuzzTest::digestAtEnd),
                new Subject("vms/x", vm, o -> VmManifest.decode("vms/x", o), FuzzTest::digestAtEnd),
                new Subject(
                        "vms/s",
                        vault.sealObject("vms/s", vm),
                        o -> VmManifest.decode("vms/s", vault.openObject("vms/s", "vms/s", o)),
                        none),
                new Subject(
                        "config",
                        config,
                        o -> RepositoryConfig.decode("config", o).open("config", null),
                        none),
                new Subject(
                        "config",
                        encrypted,
                        o -> RepositoryConfig.decode("config", o)
                                .open("config", WrapKey.parse(WrapKey.random(), "config test")),
                        none),
                new Subject("p/checkpoints/" + CP + ".json", checkpoint, o -> Manifests.decode(keys, CP, o), none));
    }

    /** The table, by whole and by tail, and every chunk that it names. */
    private static void readAll(byte[] object, Vault vault) throws StorageException {
        Table t = PackFormat.read("packs/x", ChunkId.of(object), object, vault);
        int at = PackFormat.HEADER;
        for (Entry e : t.entries()) {
            PackFormat.unpack("packs/x", vault, ZSTD, e, object, at, SCRATCH, PLAIN);
            at += e.storedBytes();
        }
    }

    private static void mustAnswer(Subject s, byte[] object, String how) {
        try {
            s.reading().of(object);
        } catch (StorageException e) {
            assertThat(e.getMessage()).as(how).contains(s.name());
            assertThat(e.code()).as(how).isIn(ErrorCode.REPOSITORY_CORRUPT, ErrorCode.WRONG_KEY);
            assertThat(e.getMessage().length()).as(how).isLessThan(500);
        } catch (RuntimeException | Error e) {
            fail(s.name() + " " + how + ": " + e, e);
        }
    }

    @Test
    void goodObjectsAreRead() throws StorageException {
        for (Subject s : subjects()) {
            if (!s.name().equals("config")) {
                s.reading().of(s.good());
            }
        }
    }

    @Test
    void everySingleFlippedBitIsAnswered() {
        for (Subject s : subjects()) {
            for (int bit = 0; bit < s.good().length * 8; bit++) {
                byte[] bad = s.good().clone();
                bad[bit / 8] ^= (byte) (1 << bit % 8);
                mustAnswer(s, bad, "bit " + bit);
                s.fix().right(bad);
                mustAnswer(s, bad, "bit " + bit + " with right digests");
            }
        }
    }

    @Test
    void everyTruncationIsAnswered() {
        for (Subject s : subjects()) {
            for (int n = 0; n < s.good().length; n++) {
                byte[] bad = Arrays.copyOf(s.good(), n);
                mustAnswer(s, bad, "cut at " + n);
                s.fix().right(bad);
                mustAnswer(s, bad, "cut at " + n + " with right digests");
            }
        }
    }

    @Test
    void randomEditsAreAnswered() {
        int[] absurd = {0, 1, -1, Integer.MAX_VALUE, Integer.MIN_VALUE, 0xffff, 1 << 16, 1 << 24, 0x7fffffe0};
        for (Subject s : subjects()) {
            for (int seed = 0; seed < ROUNDS; seed++) {
                Random random = new Random(seed);
                byte[] bad = s.good().clone();
                for (int edits = 1 + random.nextInt(4); edits > 0 && bad.length > 8; edits--) {
                    int at = random.nextInt(bad.length - 4);
                    switch (random.nextInt(5)) {
                        case 0 -> bad[at] = (byte) random.nextInt();
                        case 1 -> ByteBuffer.wrap(bad).putInt(at, absurd[random.nextInt(absurd.length)]);
                        case 2 -> {
                            int n = random.nextInt(Math.min(64, bad.length - at));
                            System.arraycopy(bad, random.nextInt(bad.length - n), bad, at, n);
                        }
                        case 3 -> {
                            byte[] longer = new byte[bad.length + 1 + random.nextInt(50)];
                            System.arraycopy(bad, 0, longer, 0, at);
                            System.arraycopy(bad, at, longer, longer.length - (bad.length - at), bad.length - at);
                            bad = longer;
                        }
                        default -> {
                            int n = random.nextInt(Math.min(50, bad.length - at));
                            byte[] shorter = new byte[bad.length - n];
                            System.arraycopy(bad, 0, shorter, 0, at);
                            System.arraycopy(bad, at + n, shorter, at, shorter.length - at);
                            bad = shorter;
                        }
                    }
                }
                mustAnswer(s, bad, "seed " + seed);
                s.fix().right(bad);
                mustAnswer(s, bad, "seed " + seed + " with right digests");
            }
        }
    }

    @Test
    void oneKindOfObjectInPlaceOfAnotherIsAnswered() {
        List<Subject> all = subjects();
        for (Subject reader : all) {
            for (Subject other : all) {
                mustAnswer(reader, other.good(), other.name() + " in its place");
            }
        }
    }

    @Test
    void jsonThatIsDeepOrFullOfNonsenseIsAnswered() {
        List<Subject> all = subjects();
        for (Subject s : all.subList(5, all.size())) {
            for (String json : List.of(
                    "[".repeat(100_000),
                    "{\"format\":1,\"a\":" + "{\"a\":".repeat(50_000),
                    "{\"format\":1}",
                    "{\"format\":2,\"encryption\":{\"wraps\":[null]}}",
                    "{\"format\":1,\"checkpoint\":null,\"vms\":[null],\"machines\":null}",
                    "{\"format\":1,\"checkpoint\":\"" + CP + "\",\"instance\":\"i\",\"vms\":[null],\"machines\":[]}",
                    "{\"format\":1,\"checkpoint\":\"" + CP + "\",\"instance\":\"i\",\"vms\":[],\"machines\":[null]}",
                    "{\"format\":1e99999}",
                    "{\"format\":1,\"chunkBytes\":99999999999999999999}",
                    "null",
                    "\"" + "x".repeat(1_000_000) + "\"")) {
                mustAnswer(
                        s,
                        json.getBytes(java.nio.charset.StandardCharsets.UTF_8),
                        json.substring(0, Math.min(60, json.length())));
            }
        }
    }

    @Test
    void chunkThatUnpacksToMoreThanItSaysIsRefusedWithoutTheRoomForIt() throws StorageException {
        // a megabyte of one byte is a frame of some dozens of bytes; the table says 100 bytes
        byte[] bomb = new byte[1 << 20];
        Arrays.fill(bomb, (byte) 7);
        byte[] frame = new byte[4096];
        int n = ZSTD.compress(bomb, 0, bomb.length, frame, 0, frame.length);
        assertThat(n).isBetween(1, 99);
        for (int told : new int[] {100, 4096, (1 << 20) - 1, (1 << 20) + 1}) {
            byte[] plain = new byte[told + 64];
            Entry lie = new Entry(ChunkId.of(bomb, 0, Math.min(told, bomb.length)), told, n, PackFormat.ZSTD);
            try {
                PackFormat.unpack("packs/x", Vault.NONE, ZSTD, lie, frame, 0, new byte[0], plain);
                fail("a chunk of " + told + " bytes was accepted");
            } catch (StorageException e) {
                assertThat(e).hasMessageContaining("packs/x");
            }
            assertThat(Arrays.copyOfRange(plain, told, plain.length))
                    .as("beyond the chunk")
                    .containsOnly(0);
        }
    }
}
