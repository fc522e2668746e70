package io.holdfast.agent.image;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Makes the stream of an ordinary (pre-copy) migration from an image: header, RAM setup, all pages, device state. Zero pages of the guest's
 * RAM are left out, because a fresh QEMU has zeroes there; those of ROMs are sent. Used by one thread.
 */
public final class StreamComposer {
    private static final int CHUNK = 1 << 20;
    private static final int RECORD = 8 + RamBlock.PAGE;
    /** Room for a block's name and a section's end. */
    private static final int MARGIN = 512;

    private final ImageFolder image;

    public StreamComposer(ImageFolder image) {
        this.image = image;
    }

    /**
     * Writes the stream.
     *
     * @return bytes written
     */
    public long writeTo(WritableByteChannel out) throws IOException {
        DevicesFile devices = image.devices();
        List<RamBlock> blocks = image.machine().ram().blocks();
        PageMap pages = PageMap.decode(devices.pageMap(), blocks);
        int section = ByteBuffer.wrap(devices.setup()).getInt(1);
        long total = send(out, ByteBuffer.wrap(devices.head()));
        total += send(out, ByteBuffer.wrap(devices.setup()));
        var in = ByteBuffer.allocateDirect(CHUNK);
        var stream = ByteBuffer.allocateDirect(CHUNK / RamBlock.PAGE * RECORD + 2 * MARGIN);
        try (FileChannel ram = image.openRam()) {
            for (int b = 0; b < blocks.size(); b++) {
                total += block(out, ram, blocks.get(b), b, pages, section, in, stream);
            }
        }
        stream.clear();
        stream.put((byte) StreamFormat.SECTION_END).putInt(section);
        endSection(stream, section);
        total += send(out, stream.flip());
        total += send(out, ByteBuffer.wrap(devices.devices()));
        total += send(out, ByteBuffer.wrap(devices.trailer()));
        return total;
    }

    private static long block(
            WritableByteChannel out,
            FileChannel ram,
            RamBlock block,
            int index,
            PageMap pages,
            int section,
            ByteBuffer in,
            ByteBuffer stream)
            throws IOException {
        byte[] name = block.name().getBytes(StandardCharsets.ISO_8859_1);
        long total = 0;
        int page = next(block, pages, index, 0);
        while (page >= 0) {
            stream.clear();
            stream.put((byte) StreamFormat.SECTION_PART).putInt(section);
            boolean named = false;
            while (page >= 0 && stream.remaining() >= RECORD + MARGIN) {
                boolean data = pages.isData(index, page);
                int end = data ? pages.nextZero(index, page) : page + 1;
                int n = Math.min(end - page, Math.min((stream.remaining() - MARGIN) / RECORD, CHUNK / RamBlock.PAGE));
                if (data) {
                    in.clear().limit(n * RamBlock.PAGE);
                    FileIo.readFully(ram, in, block.offset() + (long) page * RamBlock.PAGE);
                }
                for (int i = 0; i < n; i++) {
                    long word =
                            (long) (page + i) * RamBlock.PAGE | (data ? StreamFormat.RAM_PAGE : StreamFormat.RAM_ZERO);
                    if (named) {
                        stream.putLong(word | StreamFormat.RAM_CONTINUE);
                    } else {
                        stream.putLong(word).put((byte) name.length).put(name);
                        named = true;
                    }
                    if (data) {
                        stream.put(stream.position(), in, i * RamBlock.PAGE, RamBlock.PAGE);
                        stream.position(stream.position() + RamBlock.PAGE);
                    } else {
                        stream.put((byte) 0);
                    }
                }
                page = next(block, pages, index, page + n);
            }
            endSection(stream, section);
            total += send(out, stream.flip());
        }
        return total;
    }

    /** The next page to send from this one on, or -1. */
    private static int next(RamBlock block, PageMap pages, int index, int from) {
        if (from >= block.pages()) {
            return -1;
        }
        return block.main() ? pages.nextData(index, from) : from;
    }

    private static void endSection(ByteBuffer stream, int section) {
        stream.putLong(StreamFormat.RAM_EOS)
                .put((byte) StreamFormat.SECTION_FOOTER)
                .putInt(section);
    }

    private static long send(WritableByteChannel out, ByteBuffer from) throws IOException {
        long n = from.remaining();
        while (from.hasRemaining()) {
            out.write(from);
        }
        return n;
    }
}
