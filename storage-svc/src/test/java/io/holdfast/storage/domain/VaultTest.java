package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.RepositoryConfig.Opened;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class VaultTest {
    private static final String KEY_A = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    private static final String KEY_B = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
    private static final Instant NOW = Instant.parse("2026-01-01T00:00:00.123456789Z");

    private static WrapKey key(String text) throws StorageException {
        return WrapKey.parse(text, "holdfast.storage.key");
    }

    private static Opened create() throws StorageException {
        return RepositoryConfig.create("r", NOW, 65536, key(KEY_A));
    }

    /** The vectors of the specification, c2sp.org/XAES-256-GCM. */
    @Test
    void cipherGivesTheVectorsOfItsSpecification() {
        byte[] nonce = "ABCDEFGHIJKLMNOPQRSTUVWX".getBytes(StandardCharsets.US_ASCII);
        byte[] plain = "XAES-256-GCM".getBytes(StandardCharsets.US_ASCII);
        byte[] one = new byte[32];
        Arrays.fill(one, (byte) 1);
        byte[] three = new byte[32];
        Arrays.fill(three, (byte) 3);
        byte[] out = new byte[plain.length + Xaes.TAG];

        new Xaes(one).seal(nonce, 0, new byte[0], plain, 0, plain.length, out, 0);
        assertThat(HexFormat.of().formatHex(out)).isEqualTo("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
        new Xaes(three)
                .seal(
                        nonce,
                        0,
                        "c2sp.org/XAES-256-GCM".getBytes(StandardCharsets.US_ASCII),
                        plain,
                        0,
                        plain.length,
                        out,
                        0);
        assertThat(HexFormat.of().formatHex(out)).isEqualTo("986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
    }

    @Test
    void chunkIdsOfOneContentDifferBetweenRepositoriesAndFromTheDigest() throws StorageException {
        byte[] content = "known content".getBytes(StandardCharsets.UTF_8);
        Vault one = create().vault();
        Vault two = create().vault();

        assertThat(one.chunkId(content, 0, content.length))
                .isEqualTo(one.chunkId(content, 0, content.length))
                .isNotEqualTo(two.chunkId(content, 0, content.length))
                .isNotEqualTo(ChunkId.of(content));
        assertThat(Vault.NONE.chunkId(content, 0, content.length)).isEqualTo(ChunkId.of(content));
    }

    @Test
    void configOpensWithItsKeyOnlyAndNamesTheSetting() throws StorageException {
        Opened made = create();
        RepositoryConfig read = RepositoryConfig.decode("config", made.config().encode());

        assertThat(read).isEqualTo(made.config());
        byte[] sealed = made.vault().sealObject("vms/x", new byte[] {1, 2, 3});
        assertThat(read.open("config", key(KEY_A)).openObject("vms/x", "vms/x", sealed))
                .containsExactly(1, 2, 3);
        assertThatThrownBy(() -> read.open("config", key(KEY_B)))
                .isInstanceOfSatisfying(
                        StorageException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.WRONG_KEY))
                .hasMessageContaining("holdfast.storage.key gives key")
                .hasMessageContaining(key(KEY_A).id())
                .hasMessageNotContaining(KEY_B);
        assertThatThrownBy(() -> read.open("config", null)).isInstanceOfSatisfying(StorageException.class, e -> {
            assertThat(e.code()).isEqualTo(ErrorCode.WRONG_KEY);
            assertThat(e.remedy()).contains("holdfast.storage.key-file");
        });
        RepositoryConfig plain = RepositoryConfig.create("r", NOW, 65536, null).config();
        assertThatThrownBy(() -> plain.open("config", key(KEY_A)))
                .isInstanceOfSatisfying(
                        StorageException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.WRONG_KEY))
                .hasMessageContaining("not encrypted");
    }

    @Test
    void configWhoseLastingFieldsWereChangedIsRefused() throws StorageException {
        String good = new String(create().config().encode(), StandardCharsets.UTF_8);

        for (String[] change : new String[][] {
            {"65536", "4096"}, {"\"repository\":\"r\"", "\"repository\":\"s\""}, {"2026-01-01", "2026-01-02"}
        }) {
            assertThat(good).contains(change[0]);
            RepositoryConfig bad = RepositoryConfig.decode(
                    "config", good.replace(change[0], change[1]).getBytes(StandardCharsets.UTF_8));
            assertThatThrownBy(() -> bad.open("config", key(KEY_A))).hasMessageContaining("was changed");
        }
    }

    @Test
    void rotationLetsTheNewKeyInAndTheOldOneOutWithTheSameDataKey() throws StorageException {
        Opened made = create();
        byte[] sealed = made.vault().sealObject("index", new byte[] {9});

        RepositoryConfig both = made.config().add(made.vault(), key(KEY_B), NOW);
        RepositoryConfig after = RepositoryConfig.decode(
                "config", both.remove(key(KEY_A).id(), key(KEY_B)).encode());

        assertThat(both.open("config", key(KEY_A)).openObject("i", "index", sealed))
                .containsExactly(9);
        assertThat(after.open("config", key(KEY_B)).openObject("i", "index", sealed))
                .containsExactly(9);
        assertThatThrownBy(() -> after.open("config", key(KEY_A)))
                .hasMessageContaining(key(KEY_B).id());
        assertThatThrownBy(() -> after.remove(key(KEY_B).id(), key(KEY_B))).hasMessageContaining("works with");
        assertThatThrownBy(() -> after.remove("0000000000000000", key(KEY_B))).hasMessageContaining("has no key");
        assertThat(both.add(made.vault(), key(KEY_B), NOW)).isEqualTo(both);
    }

    @Test
    void textThatIsNoKeyIsRefusedWithoutRepeatingIt() {
        for (String bad : List.of("secret-passphrase", "", "0011", "é".repeat(64), "0".repeat(64), "=".repeat(44))) {
            assertThatThrownBy(() -> WrapKey.parse(bad, "holdfast.storage.key"))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("holdfast.storage.key")
                    .hasMessageNotContaining(bad.isEmpty() ? "\0" : bad);
        }
    }

    @Test
    void everyWayOfWritingAKeyGivesTheSame() throws StorageException {
        String base64 =
                java.util.Base64.getEncoder().encodeToString(HexFormat.of().parseHex(KEY_A));

        assertThat(key(base64 + "\n").id())
                .isEqualTo(key(KEY_A).id())
                .isEqualTo(key("  " + KEY_A.toUpperCase(java.util.Locale.ROOT)).id());
        assertThat(WrapKey.parse(WrapKey.random(), "x").id())
                .isNotEqualTo(WrapKey.parse(WrapKey.random(), "x").id());
    }

    @Test
    void sameObjectGivesTheSameBytesAndAnotherNameOrContentOthers() throws StorageException {
        Vault v = create().vault();
        byte[] content = {1, 2, 3};

        assertThat(v.sealObject("vms/a", content)).isEqualTo(v.sealObject("vms/a", content));
        byte[] nonceA = Arrays.copyOfRange(v.sealObject("vms/a", content), 8, 32);
        assertThat(nonceA).isNotEqualTo(Arrays.copyOfRange(v.sealObject("vms/b", content), 8, 32));
        assertThat(nonceA).isNotEqualTo(Arrays.copyOfRange(v.sealObject("vms/a", new byte[] {1, 2, 4}), 8, 32));
    }

    @Test
    void objectThatIsChangedTruncatedUnsealedOrUnderAnotherNameIsRefusedNamingIt() throws StorageException {
        Vault v = create().vault();
        byte[] sealed = v.sealObject("vms/a", "content".getBytes(StandardCharsets.UTF_8));

        for (int bit = 0; bit < sealed.length * 8; bit++) {
            byte[] bad = sealed.clone();
            bad[bit / 8] ^= (byte) (1 << bit % 8);
            assertThatThrownBy(() -> v.openObject("p/vms/a", "vms/a", bad))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("object p/vms/a");
        }
        for (int n = 0; n < sealed.length; n++) {
            byte[] bad = Arrays.copyOf(sealed, n);
            assertThatThrownBy(() -> v.openObject("p/vms/a", "vms/a", bad)).isInstanceOf(StorageException.class);
        }
        assertThatThrownBy(() -> v.openObject("p/vms/b", "vms/b", sealed)).hasMessageContaining("another name");
        assertThatThrownBy(() -> v.openObject("p/vms/a", "vms/a", "{}".getBytes(StandardCharsets.UTF_8)))
                .hasMessageContaining("is not encrypted");
        assertThatThrownBy(() -> Vault.NONE.openObject("p/vms/a", "vms/a", sealed))
                .hasMessageContaining("is encrypted");
        assertThatThrownBy(() -> create().vault().openObject("p/vms/a", "vms/a", sealed))
                .isInstanceOf(StorageException.class);
    }

    private record Sealed(Table table, byte[] object, List<byte[]> plain) {}

    private static Sealed pack(Vault v) {
        PackFormat.Builder b = new PackFormat.Builder(1 << 20, 4096, v);
        List<byte[]> plain = new ArrayList<>();
        Random random = new Random(5);
        for (int i = 0; i < 6; i++) {
            byte[] c = new byte[1000 + i];
            if (i % 2 == 0) {
                random.nextBytes(c);
            } else {
                Arrays.fill(c, (byte) i);
            }
            plain.add(c);
            b.add(v.chunkId(c, 0, c.length), c, 0, c.length, FormatsTest.CODEC);
        }
        Table t = b.seal();
        return new Sealed(t, Arrays.copyOf(b.bytes(), b.length()), plain);
    }

    @Test
    void chunksOfASealedPackComeBackAndNoneOfThemCanBeSeenInIt() throws StorageException {
        Vault v = create().vault();
        Sealed s = pack(v);

        Table read = PackFormat.read("packs/x", s.table().id(), s.object(), v);

        assertThat(read).isEqualTo(s.table());
        assertThat(read.objectBytes()).isEqualTo(s.object().length);
        int at = PackFormat.HEADER;
        String all = HexFormat.of().formatHex(s.object());
        for (int i = 0; i < s.plain().size(); i++) {
            Entry e = read.entries().get(i);
            byte[] out = new byte[4096];
            PackFormat.unpack("packs/x", v, FormatsTest.CODEC, e, s.object(), at, new byte[8192], out);
            assertThat(Arrays.copyOf(out, e.plainBytes())).isEqualTo(s.plain().get(i));
            assertThat(all)
                    .doesNotContain(e.id().hex())
                    .doesNotContain(HexFormat.of().formatHex(s.plain().get(i), 0, 32));
            at += e.storedBytes();
        }
        assertThat(pack(v).object()).isNotEqualTo(s.object());
    }

    @Test
    void chunkOfASealedPackThatIsChangedOrAnotherOneIsRefused() throws StorageException {
        Vault v = create().vault();
        Sealed s = pack(v);
        Entry e = s.table().entries().get(0);
        Random random = new Random(1);

        for (int i = 0; i < 500; i++) {
            byte[] bad = s.object().clone();
            int bit = random.nextInt(e.storedBytes() * 8);
            bad[PackFormat.HEADER + bit / 8] ^= (byte) (1 << bit % 8);
            assertThatThrownBy(() -> PackFormat.unpack(
                            "packs/x", v, FormatsTest.CODEC, e, bad, PackFormat.HEADER, new byte[8192], new byte[4096]))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("packs/x");
        }
        // told as shorter, as compressed, under the next chunk's id
        Entry other = s.table().entries().get(2);
        for (Entry lie : List.of(
                new Entry(e.id(), e.plainBytes() - 1, e.storedBytes(), e.encoding()),
                new Entry(e.id(), e.plainBytes(), e.storedBytes(), e.encoding() ^ PackFormat.ZSTD),
                new Entry(other.id(), e.plainBytes(), e.storedBytes(), e.encoding()),
                new Entry(e.id(), e.plainBytes(), e.storedBytes(), PackFormat.RAW))) {
            assertThatThrownBy(() -> PackFormat.unpack(
                            "packs/x",
                            v,
                            FormatsTest.CODEC,
                            lie,
                            s.object(),
                            PackFormat.HEADER,
                            new byte[8192],
                            new byte[4096]))
                    .isInstanceOf(StorageException.class);
        }
    }

    @Test
    void tableOfASealedPackThatIsChangedOrOfAnotherRepositoryIsRefused() throws StorageException {
        Vault v = create().vault();
        Sealed s = pack(v);
        int table = s.object().length - PackFormat.TRAILER - 6 * PackFormat.ENTRY - Vault.OVERHEAD;

        for (int at = table; at < s.object().length; at++) {
            byte[] bad = s.object().clone();
            bad[at] ^= 1;
            // with right digests, as somebody who can write to the bucket would
            ChunkId.of(bad, table, s.object().length - PackFormat.TRAILER - table)
                    .write(java.nio.ByteBuffer.wrap(bad).position(bad.length - PackFormat.TRAILER));
            if (Arrays.equals(bad, s.object())) {
                continue;
            }
            assertThatThrownBy(() -> PackFormat.read("packs/x", ChunkId.of(bad), bad, v))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("packs/x");
        }
        assertThatThrownBy(() -> PackFormat.read("packs/x", s.table().id(), s.object(), create().vault()))
                .hasMessageContaining("does not open");
        assertThatThrownBy(() -> PackFormat.read("packs/x", s.table().id(), s.object(), Vault.NONE))
                .hasMessageContaining("is encrypted");
        Sealed plain = pack(Vault.NONE);
        assertThatThrownBy(() -> PackFormat.read("packs/x", plain.table().id(), plain.object(), v))
                .hasMessageContaining("is not encrypted");
        assertThatThrownBy(() -> IndexFormat.decode("index/x", IndexFormat.encode(List.of(plain.table())), true))
                .hasMessageContaining("not encrypted");
        assertThatThrownBy(() -> IndexFormat.decode("index/x", IndexFormat.encode(List.of(s.table())), false))
                .hasMessageContaining("encrypted");
    }
}
