package io.holdfast.storage.domain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.holdfast.storage.domain.PackFormat.Entry;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class TwoDigestsTest {
    private final ChunkId[] two = new ChunkId[2];

    @BeforeEach
    void processorCan() {
        if (TwoDigests.plain() == null) {
            System.err.println(
                    "NOT TESTED: two digests at a time; this processor has no SHA extensions, or libholdfast did not load");
        }
        assumeTrue(TwoDigests.plain() != null);
    }

    @Test
    void examplesOfFips180AreDigestedAsItSays() {
        byte[] a = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".getBytes(StandardCharsets.US_ASCII);
        byte[] b = "x".repeat(a.length).getBytes(StandardCharsets.US_ASCII);

        TwoDigests.plain().of(b, 0, a, 0, a.length, two);

        assertThat(two[1].hex()).isEqualTo("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        assertThat(two[0]).isEqualTo(ChunkId.of(b));
    }

    @Test
    void anExampleOfRfc4231IsDigestedAsItSays() {
        byte[] message = "what do ya want for nothing?".getBytes(StandardCharsets.US_ASCII);

        TwoDigests.keyed("Jefe".getBytes(StandardCharsets.US_ASCII)).of(message, 0, message, 0, message.length, two);

        assertThat(two[0].hex()).isEqualTo("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assertThat(two[1]).isEqualTo(two[0]);
    }

    @Test
    void everyLengthAndPlaceGivesWhatTheJdkGives() throws Exception {
        byte[] data = new byte[200_000];
        new Random(4).nextBytes(data);
        for (int keyLength : List.of(0, 1, 32, 64)) {
            byte[] key = new byte[keyLength];
            new Random(5).nextBytes(key);
            TwoDigests keyed = TwoDigests.keyed(key);
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(keyLength == 0 ? new byte[1] : key, "HmacSHA256"));
            for (int length = 0; length < 400; length++) {
                int a = length * 3;
                int b = data.length - length;

                keyed.of(data, a, data, b, length, two);

                mac.update(data, a, length);
                assertThat(two[0]).as("%d bytes", length).isEqualTo(ChunkId.read(mac.doFinal(), 0));
                mac.update(data, b, length);
                assertThat(two[1]).as("%d bytes", length).isEqualTo(ChunkId.read(mac.doFinal(), 0));
            }
        }
        for (int length : List.of(4096, 65_535, 65_536, 65_537, 99_999)) {
            TwoDigests.plain().of(data, 0, data, 100_000, length, two);

            assertThat(two).containsExactly(ChunkId.of(data, 0, length), ChunkId.of(data, 100_000, length));
        }
    }

    @Test
    void bytesThatAreNotThereAreRefused() {
        byte[] data = new byte[1000];

        assertThatThrownBy(() -> TwoDigests.plain().of(data, 0, data, 800, 256, two))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> TwoDigests.plain().of(data, -1, data, 0, 256, two))
                .isInstanceOf(IndexOutOfBoundsException.class);
    }

    @Test
    void whicheverOfTwoChunksIsAnotherOneIsNamed() throws StorageException {
        byte[] good = HexFormat.of().parseHex("00112233");
        for (Vault v : List.of(Vault.NONE, Vault.create())) {
            Entry a = new Entry(v.chunkId(good, 0, 4), 4, 4, PackFormat.RAW);
            Entry shorter = new Entry(v.chunkId(good, 0, 3), 3, 3, PackFormat.RAW);
            Entry bad = new Entry(v.chunkId(good, 1, 3), 4, 4, PackFormat.RAW);

            PackFormat.check("packs/x", v, a, good, a, good.clone());
            PackFormat.check("packs/x", v, a, good, shorter, good);

            assertThatThrownBy(() -> PackFormat.check("packs/x", v, a, good, bad, good))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("packs/x", bad.id().hex());
            assertThatThrownBy(() -> PackFormat.check("packs/x", v, bad, good, a, good))
                    .hasMessageContaining(bad.id().hex());
            assertThatThrownBy(() -> PackFormat.check("packs/x", v, bad, good, shorter, good))
                    .hasMessageContaining(bad.id().hex());
        }
    }
}
