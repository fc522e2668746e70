package io.holdfast.storage.maintenance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.storage.adapter.zstd.ZstdCodec;
import io.holdfast.storage.app.Archiver;
import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.app.Puller;
import io.holdfast.storage.app.Repository;
import io.holdfast.storage.app.Settings;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.SparseMap.Extent;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.WrapKey;
import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A pull reads chunks two at a time and writes what follows each other at once: whatever comes together, files are what they were. */
class PullerTest {
    private static final int CHUNK = SimRepository.CHUNK;

    @TempDir
    Path folder;

    /** Answers of which each ends after so many bytes, as of a bad connection. */
    private static final class Breaking extends FolderStore {
        private final int most;

        Breaking(Path folder, int most) {
            super(folder);
            this.most = most;
        }

        @Override
        public void read(String key, ObjectStore.Part part) throws StorageException {
            byte[] data = get(key, Integer.MAX_VALUE);
            while (part.from() < part.to()) {
                InputStream rest = new ByteArrayInputStream(data, (int) part.from(), (int) (part.to() - part.from()));
                try {
                    part.take(new CutOff(rest, most));
                } catch (IOException e) {
                    // again, from where it is now
                }
            }
        }
    }

    private static final class CutOff extends FilterInputStream {
        private int left;

        CutOff(InputStream in, int left) {
            super(in);
            this.left = left;
        }

        @Override
        public int read() throws IOException {
            return left-- > 0 ? super.read() : -1;
        }

        @Override
        public int read(byte[] b, int off, int len) throws IOException {
            int n = left <= 0 ? -1 : super.read(b, off, Math.min(len, left));
            left -= Math.max(0, n);
            return n;
        }
    }

    private final class Host {
        final Path images;
        final Repository repository;
        final Archiver archiver;
        final Puller puller;

        Host(String name, ObjectStore store, WrapKey key) throws IOException {
            images = Files.createDirectories(folder.resolve(name).resolve("images"));
            Path state = Files.createDirectories(folder.resolve(name).resolve("state"));
            repository = new Repository(store, SimRepository.KEYS, CHUNK, key);
            var indexes = new Indexes(store, SimRepository.KEYS, repository, state);
            var settings = new Settings(name, images, state, CHUNK, 16 * CHUNK, 1, 1);
            var codec = new ZstdCodec(1);
            archiver = new Archiver(
                    store,
                    SimRepository.KEYS,
                    repository,
                    indexes,
                    codec,
                    f -> List.of(new Extent(0, Files.size(f))),
                    settings);
            puller = new Puller(store, SimRepository.KEYS, repository, indexes, codec, settings);
        }

        void archive(String checkpoint) throws Exception {
            Archiver.Result r = archiver.archive(checkpoint, List.of("a"), new Progress());
            repository.commit(new CheckpointManifest(
                    1,
                    checkpoint,
                    "net-a",
                    null,
                    Instant.parse("2026-01-01T00:00:00Z"),
                    new InstanceLayout("net-a", null, List.of(), Map.of()),
                    r.vms(),
                    List.of(),
                    new CutFigures(List.of())));
        }
    }

    /** Some chunks that are random, that compress, that are zeros, that were there before, also in an earlier file; a last one that is not whole. */
    private static byte[] content(long seed, byte[] earlier) {
        Random random = new Random(seed);
        int chunks = 1 + random.nextInt(60);
        byte[] data = new byte[chunks * CHUNK - random.nextInt(CHUNK)];
        for (int at = 0; at < data.length; at += CHUNK) {
            int to = Math.min(data.length, at + CHUNK);
            int from = Math.min(earlier.length, random.nextInt(chunks) * CHUNK);
            switch (random.nextInt(6)) {
                case 0 -> {}
                case 1 -> Arrays.fill(data, at, to, (byte) (1 + random.nextInt(100)));
                case 2 -> System.arraycopy(data, random.nextInt(at / CHUNK + 1) * CHUNK, data, at, to - at);
                case 3 ->
                    System.arraycopy(earlier, from, data, at, Math.max(0, Math.min(to - at, earlier.length - from)));
                default -> {
                    for (int i = at; i < to; i++) {
                        data[i] = (byte) random.nextInt();
                    }
                }
            }
        }
        return data;
    }

    @ParameterizedTest
    @CsvSource({"false, 1000000", "true, 1000000", "false, 20000", "true, 20000"})
    void filesOfAnyChunksComeBack_alsoOverConnectionsThatBreak(boolean encrypted, int most) throws Exception {
        ObjectStore store = new Breaking(folder.resolve("bucket"), most);
        WrapKey key = encrypted ? WrapKey.parse(WrapKey.random(), "test") : null;
        Host from = new Host("h1", store, key);
        byte[] ram = new byte[0];
        for (int i = 0; i < 8; i++) {
            // Given
            Path image = Files.createDirectories(from.images.resolve("cp-" + i).resolve("a"));
            ram = content(i, ram);
            byte[] disk = content(i + 1000, ram);
            Files.write(image.resolve("ram.img"), ram);
            Files.write(image.resolve("disk-a"), disk);
            from.archive("cp-" + i);
            Host to = new Host("to" + i, store, key);

            // When
            to.puller.pull("cp-" + i, null, List.of("a"), new Progress());

            // Then
            Path pulled = to.images.resolve("cp-" + i).resolve("a");
            assertThat(pulled.resolve("ram.img")).as("image %d", i).hasBinaryContent(ram);
            assertThat(pulled.resolve("disk-a")).as("image %d", i).hasBinaryContent(disk);
        }
    }

    @Test
    void chunksThatAreNotWantedAreSkipped() throws Exception {
        // Given an image with every third chunk of an earlier one, whose packs it shares
        var store = new FolderStore(folder.resolve("bucket"));
        Host from = new Host("h1", store, null);
        byte[] earlier = new byte[90 * CHUNK];
        new Random(1).nextBytes(earlier);
        byte[] ram = new byte[30 * CHUNK];
        for (int i = 0; i < 30; i++) {
            System.arraycopy(earlier, i * 3 * CHUNK, ram, i * CHUNK, CHUNK);
        }
        for (var image : Map.of("cp-1", earlier, "cp-2", ram).entrySet().stream()
                .sorted(Map.Entry.comparingByKey())
                .toList()) {
            Path vm =
                    Files.createDirectories(from.images.resolve(image.getKey()).resolve("a"));
            Files.write(vm.resolve("ram.img"), image.getValue());
            from.archive(image.getKey());
        }
        Host to = new Host("to", store, null);

        // When
        to.puller.pull("cp-2", null, List.of("a"), new Progress());

        // Then
        assertThat(to.images.resolve("cp-2").resolve("a").resolve("ram.img")).hasBinaryContent(ram);
    }

    @Test
    void aChunkThatIsAnotherOneIsRefused_whereverItIs() throws Exception {
        // Given four chunks in one pack
        var store = new FolderStore(folder.resolve("bucket"));
        Host from = new Host("h1", store, null);
        byte[] ram = new byte[4 * CHUNK];
        new Random(1).nextBytes(ram);
        Path image = Files.createDirectories(from.images.resolve("cp-1").resolve("a"));
        Files.write(image.resolve("ram.img"), ram);
        from.archive("cp-1");
        String pack = store.list(SimRepository.KEYS.packs()).getFirst().key();
        byte[] good = store.get(pack, Integer.MAX_VALUE);
        for (int chunk = 0; chunk < 4; chunk++) {
            byte[] bad = good.clone();
            bad[8 + chunk * CHUNK + 100] ^= 1;
            store.put(pack, bad, 0, bad.length);
            Host to = new Host("to" + chunk, store, null);

            // When, then
            assertThatThrownBy(() -> to.puller.pull("cp-1", null, List.of("a"), new Progress()))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining(pack, "has another digest");
            assertThat(to.images.resolve("cp-1").resolve("a")).doesNotExist();
        }
    }
}
