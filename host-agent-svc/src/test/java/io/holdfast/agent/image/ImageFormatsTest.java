package io.holdfast.agent.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Frame;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ImageFormatsTest {
    @TempDir
    Path base;

    private FolderImageStore store;

    @BeforeEach
    void setUp() throws IOException {
        store = new FolderImageStore(base.resolve("images"));
    }

    static InstanceLayout layout(String instance, String memory) {
        var spec = new VmSpec(
                "web",
                1,
                memory,
                Hugepages.off,
                "qemu64",
                "pc-q35-9.0",
                Accelerator.tcg,
                null,
                null,
                null,
                null,
                List.of(),
                List.of(),
                true);
        return new InstanceLayout(
                instance, new NetworkSpec(instance, List.of(), List.of(spec), Map.of()), List.of(), Map.of());
    }

    private ImageFolder image(String checkpoint, long seed, long takenAt) throws Exception {
        var stream = new SyntheticStream(seed);
        ImageFolder image = ImageFolder.of(store.create(checkpoint, layout("inst", "2MiB"), "web"));
        image.describe(new MachineFile.Qemu("10.0.2", "pc-q35-9.0", "qemu64", "tcg", false), List.of(), List.of());
        try (FileChannel c = image.create(ImageFolder.RAM)) {
            var writer = new RamWriter(c, () -> {}, () -> {});
            var parser = new StreamParser(writer, 64 << 20);
            parser.feed(ByteBuffer.wrap(stream.bytes));
            image.captured(takenAt, writer, writer.finish(parser.end()));
        }
        image.writeFrames(0, "lan", frames(3));
        image.seal();
        return image;
    }

    private static List<Frame> frames(int n) {
        var random = new Random(n);
        List<Frame> frames = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            byte[] data = new byte[Frame.VNET_HEADER + 60 + random.nextInt(1400)];
            random.nextBytes(data);
            frames.add(new Frame(1_760_000_000_000_000L + i, data));
        }
        return frames;
    }

    private static void assertSame(List<Frame> a, List<Frame> b) {
        assertThat(a).hasSameSizeAs(b);
        for (int i = 0; i < a.size(); i++) {
            assertThat(a.get(i).micros()).isEqualTo(b.get(i).micros());
            assertThat(a.get(i).data()).isEqualTo(b.get(i).data());
        }
    }

    @Test
    void givenASealedImageWhenOpenedAndComposedThenSplittingItAgainGivesTheSame() throws Exception {
        for (int seed = 0; seed < 20; seed++) {
            image("cp-" + seed, seed, seed);
            ImageFolder opened = ImageFolder.of(store.open("cp-" + seed, "web"));
            var composed = new ByteArrayOutputStream();

            new StreamComposer(opened).writeTo(Channels.newChannel(composed));

            Map<String, byte[]> expected = new SyntheticStream(seed).blocks;
            Map<String, byte[]> got = new java.util.HashMap<>();
            var parser = new StreamParser(
                    new StreamSink() {
                        private List<RamBlock> blocks;

                        @Override
                        public void setup(byte[] head, byte[] setup, List<RamBlock> found) {
                            blocks = found;
                            // A fresh QEMU's RAM is zero; its ROMs are not.
                            found.forEach(b -> {
                                byte[] fresh = new byte[(int) b.bytes()];
                                Arrays.fill(fresh, (byte) (b.main() ? 0 : 0x55));
                                got.put(b.name(), fresh);
                            });
                        }

                        @Override
                        public void armed() {}

                        @Override
                        public void page(int block, long at, ByteBuffer page) {
                            page.get(got.get(blocks.get(block).name()), (int) at, RamBlock.PAGE);
                        }

                        @Override
                        public void zero(int block, long at) {
                            Arrays.fill(
                                    got.get(blocks.get(block).name()), (int) at, (int) at + RamBlock.PAGE, (byte) 0);
                        }
                    },
                    64 << 20);
            parser.feed(ByteBuffer.wrap(composed.toByteArray()));
            assertThat(parser.end()).isEqualTo(SyntheticStream.tail());
            expected.forEach((name, data) -> assertThat(got.get(name)).as(name).isEqualTo(data));
            assertSame(opened.readFrames(0), frames(3));
            assertThat(opened.readFrames(1)).isEmpty();
        }
    }

    @Test
    void givenAnyChangedByteOfAFileWhenOpenedThenItIsRefused() throws Exception {
        image("cp-1", 1, 1);
        var random = new Random(7);
        for (String name : List.of("devices.bin", "frames-0.pcapng", "machine.json")) {
            Path file = base.resolve("images/cp-1/web").resolve(name);
            byte[] good = Files.readAllBytes(file);
            for (int i = 0; i < 60; i++) {
                byte[] bad = i % 10 == 0 ? Arrays.copyOf(good, random.nextInt(good.length)) : good.clone();
                if (i % 10 != 0) {
                    bad[random.nextInt(bad.length)] ^= (byte) (1 + random.nextInt(255));
                }
                Files.write(file, bad);
                if (name.equals("machine.json")) {
                    // It is the root: its own digest is in the repository. It must only never do harm.
                    try {
                        assertThat(store.open("cp-1", "web")).isNotNull();
                    } catch (AgentException e) {
                        assertThat(e.code()).isIn(ErrorCode.REPOSITORY_CORRUPT, ErrorCode.IO_FAILED);
                    }
                } else {
                    assertThatThrownBy(() -> store.open("cp-1", "web"))
                            .isInstanceOfSatisfying(AgentException.class, e -> {
                                assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT);
                                assertThat(e).hasMessageContaining(name);
                            });
                }
            }
            Files.write(file, good);
        }
        assertThat(store.open("cp-1", "web")).isNotNull();
    }

    @Test
    void givenADeviceFileWithUnknownSectionsWhenReadThenOnlyOptionalOnesAreTaken() throws Exception {
        byte[] good = new DevicesFile(new byte[1], new byte[2], new byte[3], new byte[4], new byte[5]).encode();
        assertThat(DevicesFile.decode(with(good, "note")).devices()).hasSize(4);
        assertThatThrownBy(() -> DevicesFile.decode(with(good, "NEWS")))
                .isInstanceOf(StreamException.class)
                .hasMessageContaining("NEWS");
        byte[] newer = good.clone();
        newer[11] = 2;
        assertThatThrownBy(() -> DevicesFile.decode(newer)).hasMessageContaining("version 2");
    }

    private static byte[] with(byte[] file, String tag) {
        byte[] body = Arrays.copyOf(file, file.length - 32);
        body[15]++;
        var b = ByteBuffer.allocate(body.length + 12 + 6 + 32).put(body);
        b.put(tag.getBytes(StandardCharsets.US_ASCII)).putLong(6).put(new byte[6]);
        var digest = Digests.sha256();
        digest.update(b.array(), 0, b.position());
        return b.put(digest.digest()).array();
    }

    @Test
    void givenNoMachineFileWhenOpenedThenItIsNotComplete() throws Exception {
        image("cp-1", 1, 1);
        Files.delete(base.resolve("images/cp-1/web/machine.json"));

        assertThatThrownBy(() -> store.open("cp-1", "web")).hasMessageContaining("not complete");
    }

    @Test
    void givenALinkInsteadOfAFileWhenOpenedThenItIsRefused() throws Exception {
        image("cp-1", 1, 1);
        Path file = base.resolve("images/cp-1/web/devices.bin");
        Files.move(file, base.resolve("elsewhere"));
        Files.createSymbolicLink(file, base.resolve("elsewhere"));

        assertThatThrownBy(() -> store.open("cp-1", "web")).hasMessageContaining("devices.bin");
    }

    @Test
    void givenTooLittleSpaceWhenCreatedThenItIsRefusedAndNothingIsLeft() {
        assertThatThrownBy(() -> store.create("cp-1", layout("inst", "1024TiB"), "web"))
                .isInstanceOfSatisfying(AgentException.class, e -> {
                    assertThat(e.code()).isEqualTo(ErrorCode.NO_SPACE);
                    assertThat(e.remedy()).isNotBlank();
                });
        assertThat(store.present()).isEmpty();
    }

    @Test
    void givenPreparedImagesWhenAskedForFreeBytesThenTheyAreTakenOffUntilDeleted() throws Exception {
        long before = store.freeBytes();
        store.create("cp-1", layout("inst", "4GiB"), "web");
        assertThat(store.freeBytes()).isLessThan(before - (3L << 30));

        store.delete("cp-1");
        store.delete("cp-1");

        assertThat(store.freeBytes()).isGreaterThan(before - (2L << 30));
    }

    private static final Instant NOW = Instant.parse("2026-01-08T00:00:00Z");
    private static final ImageStore.Keep KEEP = new ImageStore.Keep(1, Duration.ofDays(7), Duration.ofHours(3));

    /** Complete images cp-1, cp-2, ... of the instance inst, all but the last one archived at that time. */
    private void archivedImages(int count, Instant at) throws Exception {
        for (int i = 1; i <= count; i++) {
            image("cp-" + i, i, i);
            Path mark = base.resolve("images/cp-" + i + "/web/archived");
            if (i < count) {
                Files.setLastModifiedTime(Files.write(mark, new byte[0]), FileTime.from(at));
            }
            Files.setLastModifiedTime(base.resolve("images/cp-" + i), FileTime.from(at));
        }
    }

    private Path claim(String checkpoint, String operation, Instant at) throws IOException {
        Path claim = Files.createFile(base.resolve("images/" + checkpoint + "/claim-" + operation));
        return Files.setLastModifiedTime(claim, FileTime.from(at));
    }

    @Test
    void givenArchivedImagesWhenPrunedThenTheNewestAndThoseNotArchivedStay() throws Exception {
        archivedImages(4, NOW);

        assertThat(store.prune(KEEP, Set.of("inst"), Set.of(), NOW)).containsExactlyInAnyOrder("cp-1", "cp-2");

        assertThat(store.present()).containsExactly("cp-3", "cp-4");
    }

    @Test
    void givenAnImageInUseOrClaimedByARestoreWhenPrunedThenItStaysUntilTheRestoreIsOver() throws Exception {
        archivedImages(5, NOW);
        claim("cp-2", "op-1", NOW.minus(Duration.ofHours(2)));
        claim("cp-3", "op-2", NOW.minus(Duration.ofHours(4)));

        store.prune(KEEP, Set.of("inst"), Set.of("cp-1"), NOW);
        assertThat(store.present())
                .as("in use, claimed, claimed too long ago")
                .containsExactly("cp-1", "cp-2", "cp-4", "cp-5");

        store.unclaim("op-1");
        store.prune(KEEP, Set.of("inst"), Set.of(), NOW);
        assertThat(store.present()).containsExactly("cp-4", "cp-5");
    }

    @Test
    void givenNothingOfTheInstanceHereWhenPrunedThenImagesStayForAsLongAsUnusedOnesDo() throws Exception {
        archivedImages(3, NOW.minus(Duration.ofDays(6)));

        store.prune(KEEP, Set.of("other"), Set.of(), NOW);
        assertThat(store.present()).containsExactly("cp-2", "cp-3");

        store.prune(KEEP, Set.of("inst"), Set.of(), NOW.plus(Duration.ofDays(2)));
        assertThat(store.present()).as("something of it is here").containsExactly("cp-2", "cp-3");

        store.prune(KEEP, Set.of("other"), Set.of(), NOW.plus(Duration.ofDays(2)));
        assertThat(store.present()).as("the other one is not archived").containsExactly("cp-3");
    }

    @Test
    void givenAnAgentThatDiedWhileItRemovedAnImageWhenPrunedThenTheRestGoes() throws Exception {
        archivedImages(2, NOW);
        Path rest = Files.createDirectories(base.resolve("images/.gone-cp-0/web"));
        Files.write(rest.resolve("ram.img"), new byte[4096]);

        assertThat(store.prune(KEEP, Set.of("inst"), Set.of(), NOW)).isEmpty();

        assertThat(base.resolve("images/.gone-cp-0")).doesNotExist();
        assertThat(store.present()).containsExactly("cp-1", "cp-2");
    }

    @Test
    void givenManyWhoPruneAtOnceWhenTheyDoThenEachImageIsRemovedOnceAndNobodyFails() throws Exception {
        archivedImages(12, NOW);
        List<String> removed = new CopyOnWriteArrayList<>();

        try (var threads = Executors.newFixedThreadPool(4)) {
            List<Future<?>> all = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                all.add(threads.submit(() -> removed.addAll(store.prune(KEEP, Set.of("inst"), Set.of(), NOW))));
            }
            for (Future<?> one : all) {
                one.get();
            }
        }

        assertThat(removed).hasSize(10).doesNotHaveDuplicates();
        assertThat(store.present()).containsExactly("cp-11", "cp-12");
    }

    /** Another process that has locked a file until its input ends: an agent that prunes (exclusive), or who claims (shared). */
    static final class Holder {
        private Holder() {}

        public static void main(String[] args) throws IOException {
            try (FileChannel c = FileChannel.open(
                            Path.of(args[0]),
                            StandardOpenOption.CREATE,
                            StandardOpenOption.READ,
                            StandardOpenOption.WRITE);
                    FileLock held = c.lock(0, Long.MAX_VALUE, Boolean.parseBoolean(args[1]))) {
                System.out.println("shared=" + held.isShared());
                boolean unused = System.in.read() >= 0;
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void givenAnotherProcessThatHasLockedTheFolderWhenPrunedThenItDoesNotWaitAndImagesStayUntilTheNextOne(
            boolean shared) throws Exception {
        archivedImages(4, NOW);
        Process holder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Holder.class.getName(),
                        base.resolve("images").resolve(FolderImageStore.LOCK).toString(),
                        Boolean.toString(shared))
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        List<String> removed;
        try (var said = holder.inputReader();
                var thread = Executors.newSingleThreadExecutor()) {
            assertThat(said.readLine()).isEqualTo("shared=" + shared);
            Future<List<String>> prune = thread.submit(() -> store.prune(KEEP, Set.of("inst"), Set.of(), NOW));
            try {
                removed = prune.get(20, TimeUnit.SECONDS);
            } finally {
                holder.getOutputStream().close();
            }
            assertThat(holder.waitFor()).isZero();
        }

        assertThat(removed).isEmpty();
        assertThat(store.present()).containsExactly("cp-1", "cp-2", "cp-3", "cp-4");
        assertThat(store.prune(KEEP, Set.of("inst"), Set.of(), NOW)).containsExactlyInAnyOrder("cp-1", "cp-2");
    }

    @Test
    void givenAClaimOfARestoreThatPulledNothingWhenGivenUpThenNothingIsLeft() throws Exception {
        Files.createDirectory(base.resolve("images/cp-9"));
        claim("cp-9", "op-1", NOW);

        store.unclaim("../op-1");
        assertThat(store.present()).containsExactly("cp-9");
        store.unclaim("op-1");

        assertThat(store.present()).isEmpty();
    }

    @Test
    void givenAFramesFileThatIsGoneWhenReadThenItFailsAndOneThatNeverWasIsEmpty() throws Exception {
        image("cp-1", 1, 1);
        var open = store.open("cp-1", "web");
        assertThat(open.readFrames(0)).hasSize(3);
        Files.delete(base.resolve("images/cp-1/web/frames-0.pcapng"));

        assertThatThrownBy(() -> open.readFrames(0))
                .isInstanceOfSatisfying(
                        AgentException.class, e -> assertThat(e.code()).isEqualTo(ErrorCode.REPOSITORY_CORRUPT))
                .hasMessageContaining("frames-0.pcapng is missing");
        assertThat(open.readFrames(1)).isEmpty();
    }

    @Test
    void givenABadNameWhenUsedThenItNeverBecomesAPath() {
        for (String name : List.of("..", "", "a/b", "A", "-a", ".x")) {
            assertThatThrownBy(() -> store.delete(name)).isInstanceOf(AgentException.class);
        }
    }

    @Test
    void givenHostilePcapngWhenReadThenOnlyAStreamExceptionComes() throws IOException {
        byte[] good = Pcapng.encode("web/nic0 (lan)", frames(5));
        assertSame(Pcapng.decode(good), frames(5));
        var random = new Random(1);
        for (int i = 0; i < 5000; i++) {
            byte[] bad = i % 5 == 0 ? Arrays.copyOf(good, random.nextInt(good.length)) : good.clone();
            for (int n = 0; n < 3 && bad.length > 0; n++) {
                bad[random.nextInt(bad.length)] = (byte) random.nextInt();
            }
            try {
                assertThat(Pcapng.decode(bad).size()).isLessThan(100);
            } catch (StreamException e) {
                assertThat(e).hasMessageContaining("pcapng");
            }
        }
    }

    @Test
    void givenFramesWhenReadByTsharkThenItSeesThemWithTimeAndInterface() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/tshark")), "NOT TESTED: pcapng with tshark: not installed");
        Path file = base.resolve("f.pcapng");
        byte[] data = new byte[Frame.VNET_HEADER + 60];
        data[Frame.VNET_HEADER + 12] = (byte) 0x88;
        data[Frame.VNET_HEADER + 13] = (byte) 0xb6;
        Files.write(file, Pcapng.encode("web/nic0 (lan)", List.of(new Frame(1_760_000_000_123_456L, data))));

        Process p = new ProcessBuilder(
                        "/usr/bin/tshark",
                        "-n",
                        "-r",
                        file.toString(),
                        "-T",
                        "fields",
                        "-e",
                        "frame.time_epoch",
                        "-e",
                        "frame.len",
                        "-e",
                        "eth.type",
                        "-e",
                        "frame.interface_name")
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

        assertThat(out.strip().split("\t", -1)).satisfies(f -> {
            assertThat(f[0]).startsWith("1760000000.123456");
            assertThat(f[1]).isEqualTo("60");
            assertThat(f[2]).isEqualTo("0x88b6");
            assertThat(f[3]).isEqualTo("web/nic0 (lan)");
        });
    }

    @Test
    void givenASparseFileWhenCopiedThenContentIsTheSameAndHolesStay() throws Exception {
        Path from = base.resolve("from");
        try (FileChannel c = FileChannel.open(from, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            c.write(ByteBuffer.wrap("begin".getBytes(StandardCharsets.US_ASCII)), 0);
            c.write(ByteBuffer.wrap("middle".getBytes(StandardCharsets.US_ASCII)), (3 << 20) + 5);
            c.write(ByteBuffer.wrap(new byte[1]), (8 << 20) - 1);
        }
        for (FileCloner cloner : List.of(FileCloner.plain(), new NativeCloner())) {
            Path to = base.resolve("to-" + cloner.getClass().getSimpleName().hashCode());
            cloner.copy(from, to);
            assertThat(Files.mismatch(from, to)).isEqualTo(-1);
        }
    }
}
