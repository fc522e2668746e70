package io.holdfast.agent.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StreamParserTest {
    private static final long MAX_RAM = 64L << 20;

    @TempDir
    Path folder;

    private static void feed(StreamParser parser, byte[] bytes, Random random, int most) throws IOException {
        for (int at = 0; at < bytes.length; ) {
            int n = Math.min(bytes.length - at, 1 + random.nextInt(most));
            feed(parser, bytes, at, n, random.nextBoolean());
            at += n;
        }
    }

    /** Feeds from memory that is used for something else as soon as that has returned. */
    private static void feed(StreamParser parser, byte[] bytes, int at, int n, boolean direct) throws IOException {
        ByteBuffer piece = direct ? ByteBuffer.allocateDirect(n) : ByteBuffer.allocate(n);
        parser.feed(piece.put(bytes, at, n).flip());
        for (int i = 0; i < n; i++) {
            piece.put(i, (byte) 0x55);
        }
    }

    private RamWriter split(byte[] stream, Path file, AtomicInteger armed, int most, long seed) throws IOException {
        try (FileChannel c = FileChannel.open(
                file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.READ)) {
            var writer = new RamWriter(c, armed::incrementAndGet, () -> {});
            var parser = new StreamParser(writer, MAX_RAM);
            feed(parser, stream, new Random(seed), most);
            DevicesFile devices = writer.finish(parser.end());
            assertThat(parser.consumed()).isEqualTo(stream.length);
            byte[] all = new byte[devices.devices().length + devices.trailer().length];
            System.arraycopy(devices.devices(), 0, all, 0, devices.devices().length);
            System.arraycopy(devices.trailer(), 0, all, devices.devices().length, devices.trailer().length);
            assertThat(all).isEqualTo(SyntheticStream.tail());
            return writer;
        }
    }

    @Test
    void givenStreamsCutAtAnyByteWhenSplitThenEveryPageIsAtItsPlace() throws IOException {
        for (int seed = 0; seed < 60; seed++) {
            var stream = new SyntheticStream(seed);
            Path file = folder.resolve("ram-" + seed);
            var armed = new AtomicInteger();

            int[] most = {1, 7, 9000, 60_000};
            RamWriter writer = split(stream.bytes, file, armed, most[seed % most.length], seed);

            assertThat(armed).hasValue(1);
            byte[] ram = Files.readAllBytes(file);
            assertThat(writer.blocks()).hasSize(3);
            for (RamBlock b : writer.blocks()) {
                assertThat(b.offset() % RamBlock.ALIGNMENT).isZero();
                assertThat(Arrays.copyOfRange(ram, (int) b.offset(), (int) (b.offset() + b.bytes())))
                        .isEqualTo(stream.blocks.get(b.name()));
            }
        }
    }

    @Test
    void givenOnlyHeaderAndSetupWhenFedThenNotYetArmed() throws IOException {
        var stream = new SyntheticStream(1);
        var armed = new AtomicInteger();
        int setup = 13 + 10 + 1 + 4 + 4 + 8 + 8 + (1 + 4 + 8) + (1 + 7 + 8) + (1 + 18 + 8) + 8 + 5;
        try (FileChannel c =
                FileChannel.open(folder.resolve("ram"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            var writer = new RamWriter(c, armed::incrementAndGet, () -> {});
            var parser = new StreamParser(writer, MAX_RAM);

            parser.feed(ByteBuffer.wrap(stream.bytes, 0, setup + 5).slice());
            assertThat(writer.blocks()).hasSize(3);
            assertThat(armed).hasValue(0);

            parser.feed(ByteBuffer.wrap(stream.bytes, setup + 5, 8).slice());
            assertThat(armed).hasValue(1);
        }
    }

    @Test
    void givenAStreamThatEndsEarlyWhenFinishedThenItIsRefused() {
        var stream = new SyntheticStream(2);
        for (int keep = 0; keep < stream.bytes.length; keep += 1 + stream.bytes.length / 97) {
            byte[] part = Arrays.copyOf(stream.bytes, keep);
            Path file = folder.resolve("ram-" + keep);
            assertThatThrownBy(() -> split(part, file, new AtomicInteger(), 5000, 1))
                    .isInstanceOf(StreamException.class);
        }
    }

    @Test
    void givenAPageThatNeverCameWhenFinishedThenItIsRefused() throws IOException {
        try (FileChannel c =
                FileChannel.open(folder.resolve("ram"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            var writer = new RamWriter(c, () -> {}, () -> {});
            writer.setup(new byte[1], new byte[1], List.of(new RamBlock("ram0", 0, 3 * RamBlock.PAGE)));
            writer.page(0, 0, ByteBuffer.allocate(RamBlock.PAGE));
            writer.zero(0, RamBlock.PAGE);

            assertThatThrownBy(() -> writer.finish(SyntheticStream.tail()))
                    .isInstanceOf(StreamException.class)
                    .hasMessageContaining("1 pages never came");
        }
    }

    @Test
    void givenAPageThatBecameZeroWhenWrittenThenTheFileHasZero() throws IOException {
        Path file = folder.resolve("ram");
        try (FileChannel c = FileChannel.open(
                file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.READ)) {
            var writer = new RamWriter(c, () -> {}, () -> {});
            writer.setup(new byte[1], new byte[1], List.of(new RamBlock("ram0", 0, 2 * RamBlock.PAGE)));
            byte[] page = new byte[RamBlock.PAGE];
            Arrays.fill(page, (byte) 7);
            writer.page(0, 0, ByteBuffer.wrap(page));
            writer.zero(0, 0);
            writer.page(0, RamBlock.PAGE, ByteBuffer.wrap(page));
            writer.finish(SyntheticStream.tail());
        }
        byte[] ram = Files.readAllBytes(file);
        assertThat(Arrays.copyOf(ram, RamBlock.PAGE)).containsOnly(0);
        assertThat(Arrays.copyOfRange(ram, RamBlock.PAGE, 2 * RamBlock.PAGE)).containsOnly(7);
    }

    @Test
    void givenPagesKeptBeforeTheGuestWroteWhenTheStreamHasNewerOnesThenTheFileHasTheKeptOnes() throws IOException {
        for (int seed = 0; seed < 60; seed++) {
            // Given: a stream that has what the guest wrote, and runs of pages as they were before
            var stream = new SyntheticStream(seed);
            var random = new Random(seed);
            byte[] expected = stream.blocks.get("ram0").clone();
            int pages = expected.length / RamBlock.PAGE;
            List<int[]> runs = new ArrayList<>();
            for (int p = 0; p < pages; ) {
                int n = Math.min(pages - p, 1 + random.nextInt(4));
                if (random.nextBoolean()) {
                    runs.add(new int[] {p, n});
                    for (int i = p; i < p + n; i++) {
                        Arrays.fill(expected, i * RamBlock.PAGE, (i + 1) * RamBlock.PAGE, (byte)
                                (random.nextBoolean() ? 0 : 1 + random.nextInt(100)));
                    }
                }
                p += n;
            }
            Collections.shuffle(runs, random);
            Path file = folder.resolve("kept-" + seed);
            try (FileChannel c = FileChannel.open(
                    file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.READ)) {
                var writer = new RamWriter(c, () -> {}, () -> {});
                var parser = new StreamParser(writer, MAX_RAM);
                // When: they come at any time
                for (int at = 0; at < stream.bytes.length || !runs.isEmpty(); ) {
                    int n = Math.min(stream.bytes.length - at, 1 + random.nextInt(9000));
                    feed(parser, stream.bytes, at, n, random.nextBoolean());
                    at += n;
                    if (writer.blocks() != null && !runs.isEmpty()) {
                        int[] run = runs.removeLast();
                        ByteBuffer copy = ByteBuffer.wrap(expected, run[0] * RamBlock.PAGE, run[1] * RamBlock.PAGE);
                        writer.keep("ram0", (long) run[0] * RamBlock.PAGE, copy);
                        assertThat(copy.hasRemaining()).isFalse();
                    }
                }
                writer.finish(parser.end());
                // Then
                byte[] ram = Files.readAllBytes(file);
                assertThat(Arrays.copyOf(ram, expected.length)).isEqualTo(expected);
                long data = 0;
                for (RamBlock b : writer.blocks()) {
                    for (long at = b.offset(); at < b.offset() + b.bytes(); at += RamBlock.PAGE) {
                        byte[] page = Arrays.copyOfRange(ram, (int) at, (int) at + RamBlock.PAGE);
                        data += Arrays.equals(page, new byte[RamBlock.PAGE]) ? 0 : RamBlock.PAGE;
                    }
                }
                assertThat(writer.dataBytes()).isEqualTo(data);
            }
        }
    }

    @Test
    void givenKeptPagesThatNoBlockHasThenTheyAreRefused() throws IOException {
        try (FileChannel c =
                FileChannel.open(folder.resolve("ram"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            var writer = new RamWriter(c, () -> {}, () -> {});
            writer.setup(new byte[1], new byte[1], List.of(new RamBlock("ram0", 0, 2 * RamBlock.PAGE)));

            assertThatThrownBy(() -> writer.keep("other", 0, ByteBuffer.allocate(RamBlock.PAGE)))
                    .isInstanceOf(StreamException.class)
                    .hasMessageContaining("'other'");
            assertThatThrownBy(() -> writer.keep("ram0", RamBlock.PAGE, ByteBuffer.allocate(2 * RamBlock.PAGE)))
                    .isInstanceOf(StreamException.class);
            assertThatThrownBy(() -> writer.keep("ram0", 7, ByteBuffer.allocate(RamBlock.PAGE)))
                    .isInstanceOf(StreamException.class);
            // A kept page does not stand for one that never came
            writer.keep("ram0", 0, ByteBuffer.allocate(2 * RamBlock.PAGE));
            assertThatThrownBy(() -> writer.finish(SyntheticStream.tail()))
                    .isInstanceOf(StreamException.class)
                    .hasMessageContaining("2 pages never came");
        }
    }

    @Test
    void givenHostileBytesWhenFedThenOnlyAStreamExceptionComesAndMemoryIsBounded() {
        var random = new Random(42);
        int refused = 0;
        for (int round = 0; round < 3000; round++) {
            byte[] bytes = new SyntheticStream(round % 20).bytes;
            int changes = 1 + random.nextInt(4);
            for (int i = 0; i < changes; i++) {
                // Mostly where lengths, names and flags are.
                int at = random.nextInt(random.nextBoolean() ? Math.min(400, bytes.length) : bytes.length);
                bytes[at] = (byte) random.nextInt();
            }
            var parser = new StreamParser(
                    new StreamSink() {
                        @Override
                        public void setup(byte[] head, byte[] setup, java.util.List<RamBlock> blocks) {
                            assertThat(blocks.stream()
                                            .mapToLong(RamBlock::bytes)
                                            .sum())
                                    .isLessThanOrEqualTo(MAX_RAM);
                        }

                        @Override
                        public void armed() {}

                        @Override
                        public void page(int block, long at, ByteBuffer page) {
                            assertThat(page.remaining()).isGreaterThanOrEqualTo(RamBlock.PAGE);
                            page.position(page.position() + RamBlock.PAGE);
                        }

                        @Override
                        public void zero(int block, long at) {}
                    },
                    MAX_RAM);
            try {
                feed(parser, bytes, random, 5000);
                DevicesFile ignored = DevicesFile.of(new byte[0], new byte[0], new PageMap(List.of()), parser.end());
            } catch (StreamException e) {
                refused++;
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        }
        assertThat(refused).isGreaterThan(500);
    }

    @Test
    void givenMoreRamThanAllowedWhenFedThenItIsRefusedBeforeAnyPage() {
        var stream = new SyntheticStream(4);
        var parser = new StreamParser(new RamWriter(null, () -> {}, () -> {}), RamBlock.PAGE);

        assertThatThrownBy(() -> parser.feed(ByteBuffer.wrap(stream.bytes)))
                .isInstanceOf(StreamException.class)
                .hasMessageContaining("allowed");
    }
}
