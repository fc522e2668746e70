package io.holdfast.agent.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a restart reads of an image that comes from a bucket, broken or hostile, with digests made right again as somebody would who can write
 * to the bucket: {@code devices.bin}, its map of pages, {@code machine.json}, and the stream that is made of them. A reader answers with what
 * is there or with an {@link IOException}; never with another exception, much memory, or a stream without an end. Seeds are fixed.
 */
@Timeout(value = 3, unit = TimeUnit.MINUTES)
class ImageFuzzTest {
    private static final int ROUNDS = 1500;
    /** What a reader may allocate beyond the file itself. */
    private static final long ALLOWED = 8L << 20;

    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final String CHECKPOINT = "cp-1";

    @TempDir
    Path base;

    private Path folder;
    private byte[] devices;
    private String machine;
    private long whole;

    @BeforeEach
    void image() throws Exception {
        var store = new FolderImageStore(base.resolve("images"));
        ImageFolder image = ImageFolder.of(store.create(CHECKPOINT, ImageFormatsTest.layout("inst", "2MiB"), "web"));
        image.describe(new MachineFile.Qemu("10.0.2", "pc-q35-9.0", "qemu64", "tcg", false), List.of(), List.of());
        try (FileChannel c = image.create(ImageFolder.RAM)) {
            var writer = new RamWriter(c, () -> {}, () -> {});
            var parser = new StreamParser(writer, 64 << 20);
            parser.feed(ByteBuffer.wrap(new SyntheticStream(7).bytes));
            image.captured(1, writer, writer.finish(parser.end()));
        }
        image.seal();
        folder = image.folder();
        devices = Files.readAllBytes(folder.resolve(ImageFolder.DEVICES));
        machine = Files.readString(folder.resolve(ImageFolder.MACHINE));
        whole = compose();
    }

    private interface Reading {
        void read() throws IOException;
    }

    /** Reads; whether it was refused. */
    private static boolean refused(String what, Reading reading) {
        return refused(what, ALLOWED, reading);
    }

    private static boolean refused(String what, long allowed, Reading reading) {
        long before = THREADS.getCurrentThreadAllocatedBytes();
        boolean refused = false;
        try {
            reading.read();
        } catch (IOException e) {
            refused = true;
        } catch (RuntimeException | Error e) {
            fail("%s: %s", what, e, e);
        }
        assertThat(THREADS.getCurrentThreadAllocatedBytes() - before)
                .as("bytes allocated, %s", what)
                .isLessThan(allowed);
        return refused;
    }

    private static byte[] changed(byte[] good, Random random) {
        byte[] b = good.clone();
        for (int n = 1 + random.nextInt(3); n > 0 && b.length > 0; n--) {
            int at = random.nextInt(b.length);
            switch (random.nextInt(6)) {
                case 0 -> b[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> b = Arrays.copyOf(b, at);
                case 2 -> {
                    byte[] more = Arrays.copyOf(b, b.length + 1 + random.nextInt(40));
                    System.arraycopy(b, at, more, at + more.length - b.length, b.length - at);
                    b = more;
                }
                case 3 -> {
                    byte[] absurd = ByteBuffer.allocate(8)
                            .putLong(
                                    random.nextBoolean()
                                            ? random.nextLong()
                                            : new long[] {-1, 0, 1, Long.MAX_VALUE, 0x7fffffff_7fffffffL, 1L << 31}
                                                    [random.nextInt(6)])
                            .array();
                    System.arraycopy(absurd, 0, b, at, Math.min(8, b.length - at));
                }
                case 4 -> Arrays.fill(b, at, Math.min(b.length, at + random.nextInt(16)), (byte) random.nextInt());
                default -> {
                    int from = random.nextInt(b.length);
                    System.arraycopy(b, from, b, at, Math.min(b.length - Math.max(at, from), random.nextInt(32)));
                }
            }
        }
        return b;
    }

    private static byte[] digested(byte[] b) {
        int body = b.length - 32;
        if (body >= 0) {
            var digest = Digests.sha256();
            digest.update(b, 0, body);
            System.arraycopy(digest.digest(), 0, b, body, 32);
        }
        return b;
    }

    @Test
    void givenHostileDeviceFilesWhenReadThenTheyAreTakenOrRefused() throws Exception {
        int taken = 0;
        for (int seed = 0; seed < ROUNDS; seed++) {
            byte[] b = digested(changed(devices, new Random(seed)));
            if (!refused("seed " + seed, () -> DevicesFile.decode(b))) {
                taken++;
            }
        }
        assertThat(taken).as("changes that reached past the digest").isBetween(ROUNDS / 20, ROUNDS - 1);
    }

    @Test
    void givenMoreDeviceStateThanThereCanBeWhenReadThenItIsRefused() throws Exception {
        DevicesFile good = DevicesFile.decode(devices);
        byte[] much = new DevicesFile(
                        good.head(),
                        good.setup(),
                        good.pageMap(),
                        new byte[StreamParser.MAX_DEVICES],
                        good.description())
                .encode();

        assertThatThrownBy(() -> DevicesFile.decode(much))
                .isInstanceOf(StreamException.class)
                .hasMessageContaining("device state");
    }

    @Test
    void givenHostilePageMapsWhenReadThenTheyAreTakenOrRefused() throws Exception {
        byte[] good = DevicesFile.decode(devices).pageMap();
        List<RamBlock> blocks =
                MachineFile.read(folder.resolve(ImageFolder.MACHINE)).ram().blocks();
        for (int seed = 0; seed < ROUNDS; seed++) {
            var random = new Random(seed);
            byte[] b = changed(good, random);
            List<RamBlock> its = random.nextInt(3) > 0
                    ? blocks
                    : List.of(
                            new RamBlock("ram0", 0, RamBlock.PAGE * (random.nextLong() >>> (14 + random.nextInt(40)))));
            // a bit for each page up to the last one with data, with room to grow
            long bits = its.stream().mapToLong(RamBlock::bytes).sum() / RamBlock.PAGE / 8;
            refused("seed " + seed, ALLOWED + 4 * Math.min(bits, 1 << 28), () -> PageMap.decode(b, its));
        }
    }

    @Test
    void givenBlocksOfAbsurdSizeWhenTheirPagesAreReadThenTheyAreRefusedOrTakeNoRoom() {
        byte[] zeros = ByteBuffer.allocate(8).putInt(1).putInt(1 << 30).array();
        assertThat(refused("4 TiB of zeros", () -> PageMap.decode(zeros, List.of(new RamBlock("ram0", 0, 1L << 42)))))
                .isFalse();
        assertThat(refused(
                        "more pages than an int",
                        () -> PageMap.decode(zeros, List.of(new RamBlock("ram0", 0, 1L << 45)))))
                .isTrue();
    }

    @Test
    void givenAHostileImageWhenOpenedAndComposedThenItIsRefusedOrGivesAStreamThatEnds() throws Exception {
        int composed = 0;
        for (int seed = 0; seed < ROUNDS; seed++) {
            var random = new Random(seed);
            byte[] b = digested(changed(devices, random));
            Files.write(folder.resolve(ImageFolder.DEVICES), b);
            describe(random.nextInt(3) > 0 ? machine : absurd(machine, random));
            if (!refused("seed " + seed, this::compose)) {
                composed++;
            }
        }
        assertThat(composed).as("images that were taken").isPositive();
    }

    @Test
    void givenARamSetupThatIsInTheHeadWhenOpenedThenItIsRefused() throws Exception {
        DevicesFile good = DevicesFile.decode(devices);
        byte[] head = Arrays.copyOf(good.head(), good.head().length + good.setup().length);
        System.arraycopy(good.setup(), 0, head, good.head().length, good.setup().length);
        var moved = new DevicesFile(head, new byte[0], good.pageMap(), good.devices(), good.description());
        Files.write(folder.resolve(ImageFolder.DEVICES), moved.encode());
        describe(machine);

        assertThatThrownBy(this::compose).isInstanceOf(StreamException.class).hasMessageContaining("divided");
    }

    /** Makes {@code machine.json} fit {@code devices.bin} as it is. */
    private void describe(String json) throws Exception {
        Path file = folder.resolve(ImageFolder.DEVICES);
        String now = json.replace(sha256(devices), Digests.of(file))
                .replaceAll("(\"name\" : \"devices.bin\",\\s*\"bytes\" : )\\d+", "$1" + Files.size(file));
        Files.writeString(folder.resolve(ImageFolder.MACHINE), now);
    }

    private static String sha256(byte[] b) {
        return java.util.HexFormat.of().formatHex(Digests.sha256().digest(b));
    }

    /** With a number that is another one, or a value that is none. */
    private static String absurd(String json, Random random) {
        Matcher m = Pattern.compile(": (\\d+|\"[^\"]*\"|\\[)").matcher(json);
        int n = (int) m.results().count();
        int which = random.nextInt(n);
        m.reset();
        for (int i = 0; i <= which; i++) {
            m.find();
        }
        String[] values = {
            "-1",
            "0",
            "null",
            "4096",
            Long.toString(1L << 45),
            Long.toString(1L << 43),
            Long.toString(Long.MAX_VALUE),
            Long.toString(random.nextLong()),
            "[]",
            "{}",
            "[null]",
            "\"" + "x".repeat(600) + "\"",
            "\"\\u0000\""
        };
        return json.substring(0, m.start(1)) + values[random.nextInt(values.length)] + json.substring(m.end(1));
    }

    /** Opens the image as a restart does and makes the stream of it; its bytes. */
    private long compose() throws IOException {
        ImageFolder image = ImageFolder.open(folder, CHECKPOINT, "web");
        return new StreamComposer(image).writeTo(new WritableByteChannel() {
            private long bytes;

            @Override
            public int write(ByteBuffer from) throws IOException {
                int n = from.remaining();
                bytes += n;
                if (whole > 0 && bytes > 10 * whole) {
                    throw new IllegalStateException("a stream without an end");
                }
                from.position(from.limit());
                return n;
            }

            @Override
            public boolean isOpen() {
                return true;
            }

            @Override
            public void close() {}
        });
    }

    @Test
    void givenAnOddNameOfABlockWhenReadThenItNeverBreaksTheComposer() throws Exception {
        for (String name : List.of("", "x".repeat(300), "\u20ac")) {
            describe(machine.replace("\"pc.bios\"", "\"" + name + "\""));
            assertThat(new String(Files.readAllBytes(folder.resolve(ImageFolder.MACHINE)), StandardCharsets.UTF_8))
                    .contains("\"" + name + "\"");
            assertThat(refused("name " + name, this::compose)).isTrue();
        }
    }
}
