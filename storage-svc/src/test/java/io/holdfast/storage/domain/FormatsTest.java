package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.VmManifest.File;
import io.holdfast.storage.domain.VmManifest.Run;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class FormatsTest {
    private static final int TRIES = 15;

    /** Keeps chunks as they are, or "compresses" a chunk of one repeated byte to that byte. */
    static final ChunkCodec CODEC = new ChunkCodec() {
        @Override
        public int compress(byte[] source, int offset, int length, byte[] target, int at, int room) {
            for (int i = 1; i < length; i++) {
                if (source[offset + i] != source[offset]) {
                    return -1;
                }
            }
            if (room < 1) {
                return -1;
            }
            target[at] = source[offset];
            return 1;
        }

        @Override
        public boolean decompress(ByteBuffer source, byte[] target, int at, int length) {
            if (source.remaining() != 1) {
                return false;
            }
            Arrays.fill(target, at, at + length, source.get(source.position()));
            return true;
        }
    };

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void anyChunksComeBackFromAPack(long seed) throws StorageException {
        Random random = new Random(seed);
        int chunks = 1 + random.nextInt(60);
        PackFormat.Builder builder = new PackFormat.Builder(1 << 20, 4096, Vault.NONE);
        List<byte[]> plain = new ArrayList<>();
        for (int i = 0; i < chunks; i++) {
            byte[] c = new byte[1 + random.nextInt(4096)];
            if (random.nextBoolean()) {
                random.nextBytes(c);
            } else {
                Arrays.fill(c, (byte) (1 + random.nextInt(100)));
            }
            plain.add(c);
            builder.add(ChunkId.of(c), c, 0, c.length, CODEC);
        }
        Table sealed = builder.seal();
        byte[] object = Arrays.copyOf(builder.bytes(), builder.length());

        Table read = PackFormat.read("packs/x", sealed.id(), object, Vault.NONE);

        assertThat(read).isEqualTo(sealed);
        int at = PackFormat.HEADER;
        for (int i = 0; i < chunks; i++) {
            Entry e = read.entries().get(i);
            byte[] out = new byte[e.plainBytes()];
            if (e.encoding() == PackFormat.RAW) {
                System.arraycopy(object, at, out, 0, out.length);
            } else {
                assertThat(CODEC.decompress(ByteBuffer.wrap(object, at, e.storedBytes()), out, 0, out.length))
                        .isTrue();
            }
            assertThat(out).isEqualTo(plain.get(i));
            assertThat(ChunkId.of(out)).isEqualTo(e.id());
            at += e.storedBytes();
        }
    }

    @Test
    void packsOfTheSameChunksHaveNamesOfTheirOwn() {
        Table[] one = new Table[1];
        Table[] two = new Table[1];
        pack(one);
        pack(two);

        assertThat(one[0].id()).isNotEqualTo(two[0].id());
        assertThat(one[0].entries().subList(0, 5)).isEqualTo(two[0].entries().subList(0, 5));
    }

    private static byte[] pack(Table[] out) {
        PackFormat.Builder builder = new PackFormat.Builder(1 << 20, 4096, Vault.NONE);
        for (int i = 0; i < 5; i++) {
            byte[] c = new byte[1000 + i];
            new Random(i).nextBytes(c);
            builder.add(ChunkId.of(c), c, 0, c.length, CODEC);
        }
        out[0] = builder.seal();
        return Arrays.copyOf(builder.bytes(), builder.length());
    }

    private static void flip(byte[] object, Random random) {
        object[random.nextInt(object.length)] ^= (byte) (1 << random.nextInt(8));
    }

    private static void refused(String object, ThrowingCallable read) {
        assertThatThrownBy(read).isInstanceOf(StorageException.class).hasMessageContaining(object);
    }

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void anyFlippedBitOfAPackIsRefusedNamingIt(long seed) {
        Random random = new Random(seed);
        Table[] table = new Table[1];
        byte[] good = pack(table);
        for (int i = 0; i < TRIES; i++) {
            byte[] object = good.clone();
            flip(object, random);

            refused("packs/x", () -> PackFormat.read("packs/x", table[0].id(), object, Vault.NONE));
        }
    }

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void anyTruncatedPackTailIsRefused(long seed) {
        Random random = new Random(seed);
        Table[] table = new Table[1];
        byte[] object = pack(table);
        for (int i = 0; i < TRIES; i++) {
            int length = random.nextInt(object.length);

            refused(
                    "packs/x",
                    () -> PackFormat.readTable("packs/x", table[0].id(), object, 0, length, length, Vault.NONE));
        }
    }

    private static ChunkId id(Random random) {
        return new ChunkId(random.nextLong(), random.nextLong(), random.nextLong(), random.nextLong());
    }

    private static List<Table> tables(Random random) {
        List<Table> tables = new ArrayList<>();
        for (int t = random.nextInt(11); t > 0; t--) {
            List<Entry> entries = new ArrayList<>();
            for (int e = random.nextInt(31); e > 0; e--) {
                int n = 1 + random.nextInt(65536);
                entries.add(
                        random.nextBoolean()
                                ? new Entry(id(random), n, n, PackFormat.RAW)
                                : new Entry(id(random), n, 1 + n / 2, PackFormat.ZSTD));
            }
            tables.add(new Table(id(random), entries));
        }
        return tables;
    }

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void anyIndexReadsBackAndWithAFlippedBitIsRefused(long seed) throws StorageException {
        Random random = new Random(seed);
        for (int i = 0; i < TRIES; i++) {
            List<Table> tables = tables(random);
            byte[] object = IndexFormat.encode(tables);

            assertThat(IndexFormat.decode("index/x", object, false)).isEqualTo(tables);
            flip(object, random);
            refused("index/x", () -> IndexFormat.decode("index/x", object, false));
        }
    }

    private static VmManifest manifest(long seed) {
        Random random = new Random(seed);
        List<File> files = new ArrayList<>();
        for (int f = 0; f < 3; f++) {
            List<Run> runs = new ArrayList<>();
            long at = 0;
            for (int r = random.nextInt(4); r > 0; r--) {
                at += random.nextInt(5) + (runs.isEmpty() ? 0 : 1);
                byte[] ids = new byte[(1 + random.nextInt(5)) * ChunkId.BYTES];
                random.nextBytes(ids);
                runs.add(new Run(at, ids));
                at += ids.length / ChunkId.BYTES;
            }
            long bytes = at * 4096 + random.nextInt(10_000);
            files.add(new File("file-" + f, bytes, f == 0 ? ChunkId.of(new byte[] {1}) : null, runs));
        }
        return new VmManifest("cp-1", "vm-a", 4096, files);
    }

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void anyVmManifestReadsBackTheSame(long seed) throws StorageException {
        VmManifest m = manifest(seed);

        VmManifest read = VmManifest.decode("vms/x", m.encode());

        assertThat(read.encode()).isEqualTo(m.encode());
        assertThat(read.logicalBytes()).isEqualTo(m.logicalBytes());
        assertThat(read.chunks()).isEqualTo(m.chunks());
        assertThat(read.files()).extracting(File::name).containsExactly("file-0", "file-1", "file-2");
    }

    @ParameterizedTest
    @MethodSource(Seeds.ALL)
    void randomBytesWithTheRightDigestNeverBreakTheReaders(long seed) {
        Random random = new Random(seed);
        int[] magics = {PackFormat.MAGIC, IndexFormat.MAGIC, VmManifest.MAGIC};
        for (int i = 0; i < 3 * TRIES; i++) {
            int kind = i % 3;
            byte[] junk = new byte[random.nextInt(300)];
            random.nextBytes(junk);
            ByteBuffer object = ByteBuffer.allocate(8 + junk.length + 32);
            object.putInt(magics[kind]).putShort((short) 1).putShort((short) 0).put(junk);
            ChunkId.of(object.array(), 0, object.position()).write(object);
            byte[] data = object.array();
            try {
                switch (kind) {
                    case 0 -> PackFormat.read("o", ChunkId.of(data), data, Vault.NONE);
                    case 1 -> IndexFormat.decode("o", data, false);
                    default -> VmManifest.decode("o", data);
                }
            } catch (StorageException e) {
                assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
                assertThat(e).hasMessageContaining("object o");
            }
        }
    }

    /** A manifest whose digest is right and whose content is not. */
    private static byte[] forged(byte[] object, int at, byte... bytes) {
        byte[] data = object.clone();
        System.arraycopy(bytes, 0, data, at, bytes.length);
        int body = data.length - ChunkId.BYTES;
        ChunkId.of(data, 0, body).write(ByteBuffer.wrap(data, body, ChunkId.BYTES));
        return data;
    }

    @Test
    void vmManifestWithAPathInAFileNameIsRefused() {
        byte[] good = new VmManifest("cp-1", "vm-a", 4096, List.of(new File("abcdefgh", 1, null, List.of()))).encode();
        int name = new String(good, StandardCharsets.ISO_8859_1).indexOf("abcdefgh");

        for (String bad : List.of("../../et", "/etc/pas", "archived", ".hidden!", "a\0bcdefg")) {
            assertThatThrownBy(() ->
                            VmManifest.decode("vms/x", forged(good, name, bad.getBytes(StandardCharsets.ISO_8859_1))))
                    .as(bad)
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("vms/x")
                    .hasMessageContaining("file name");
        }
    }

    @Test
    void vmManifestOfAnUnknownVersionOrWithUnknownFlagsIsRefused() {
        byte[] good = manifest(1).encode();

        assertThatThrownBy(() -> VmManifest.decode("vms/x", forged(good, 4, (byte) 0, (byte) 2)))
                .hasMessageContaining("version 2 is unknown");
        assertThatThrownBy(() -> VmManifest.decode("vms/x", forged(good, 6, (byte) 0, (byte) 1)))
                .hasMessageContaining("flags 1 are unknown");
        assertThatThrownBy(() -> VmManifest.decode("vms/x", forged(good, 0, (byte) 'X')))
                .hasMessageContaining("wrong magic");
    }

    @Test
    void vmManifestWhoseRunLeavesItsFileIsRefused() {
        byte[] ids = new byte[ChunkId.BYTES];
        VmManifest m =
                new VmManifest("cp-1", "vm-a", 4096, List.of(new File("f", 4096, null, List.of(new Run(1, ids)))));

        assertThatThrownBy(() -> VmManifest.decode("vms/x", m.encode())).hasMessageContaining("lies outside");
    }

    @Test
    void fullFourGibibytesTakeTwoMebibytesOfManifest() {
        byte[] ids = new byte[65536 * ChunkId.BYTES];
        VmManifest m = new VmManifest(
                "cp-1", "vm-a", 65536, List.of(new File("ram.img", 4L << 30, null, List.of(new Run(0, ids)))));

        assertThat(m.encode().length).isLessThan((2 << 20) + 200);
        assertThat(m.dataBytes()).isEqualTo(4L << 30);
    }

    @Test
    void configThatIsNoConfigOrOfAnUnknownFormatIsRefusedSayingSo() {
        String lasting = "\"repository\":\"r\",\"createdAt\":\"2026-01-01T00:00:00Z\",";
        assertRefused("{\"format\":3}", "format 3 is unknown");
        assertRefused("nonsense", "object config");
        assertRefused("[]", "not a repository config");
        assertRefused(
                "{\"format\":1," + lasting + "\"chunkBytes\":65536,\"digest\":\"sha256\",\"encryption\":{}}",
                "does not fit its encryption");
        assertRefused(
                "{\"format\":2," + lasting + "\"chunkBytes\":65536,\"digest\":\"hmac-sha256\"}",
                "does not fit its encryption");
        assertRefused(
                "{\"format\":2," + lasting
                        + "\"chunkBytes\":65536,\"digest\":\"hmac-sha256\",\"encryption\":{\"cipher\":\"rot13\"}}",
                "unknown cipher");
        assertRefused("{\"format\":1," + lasting + "\"chunkBytes\":65536,\"digest\":\"md5\"}", "unknown digest");
        assertRefused("{\"format\":1," + lasting + "\"chunkBytes\":65537,\"digest\":\"sha256\"}", "chunk size 65537");
        assertRefused("{\"format\":1,\"chunkBytes\":65536,\"digest\":\"sha256\"}", "has no id");
    }

    private static void assertRefused(String config, String why) {
        assertThatThrownBy(() -> RepositoryConfig.decode("config", config.getBytes(StandardCharsets.UTF_8)))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("object config")
                .hasMessageContaining(why);
    }
}
