package io.holdfast.agent.image;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.BitSet;
import java.util.List;

/**
 * Writes the pages of a stream to {@code ram.img}, each at its fixed place; zero pages become holes. Pages that follow each other are
 * gathered in a buffer and written at once. One thread at a time; {@link #armedSignal} is run on that thread.
 */
public final class RamWriter implements StreamSink {
    private static final int RUN = 1 << 20;
    /** Bytes after which the disk is to begin, so that little is left to wait for at the end. */
    private static final int BEGIN_EVERY = 32 << 20;

    private final FileChannel file;
    private final Runnable armedSignal;
    private final Runnable writeback;
    private final ByteBuffer run = ByteBuffer.allocateDirect(RUN);
    private long runAt;
    private int sinceBegun;
    private byte[] head;
    private byte[] setup;
    private List<RamBlock> blocks;
    private PageMap pages;
    private BitSet[] seen;

    /**
     * A writer to an empty file.
     *
     * @param armedSignal run once, when the first RAM record has come; must not block
     * @param writeback run from time to time: begins to write what is in the page cache to the disk, without waiting for it
     */
    public RamWriter(FileChannel file, Runnable armedSignal, Runnable writeback) {
        this.file = file;
        this.armedSignal = armedSignal;
        this.writeback = writeback;
    }

    @Override
    public void setup(byte[] streamHead, byte[] ramSetup, List<RamBlock> ramBlocks) {
        head = streamHead;
        setup = ramSetup;
        blocks = ramBlocks;
        pages = new PageMap(ramBlocks);
        seen = new BitSet[ramBlocks.size()];
        for (int i = 0; i < seen.length; i++) {
            seen[i] = new BitSet(ramBlocks.get(i).pages());
        }
    }

    @Override
    public void armed() {
        armedSignal.run();
    }

    @Override
    public void page(int block, long at, ByteBuffer page) throws IOException {
        long place = blocks.get(block).offset() + at;
        if (run.position() > 0 && (place != runAt + run.position() || !run.hasRemaining())) {
            flush();
        }
        if (run.position() == 0) {
            runAt = place;
        }
        int from = page.position();
        run.put(run.position(), page, from, RamBlock.PAGE);
        run.position(run.position() + RamBlock.PAGE);
        page.position(from + RamBlock.PAGE);
        mark(block, at, true);
    }

    @Override
    public void zero(int block, long at) throws IOException {
        int n = (int) (at / RamBlock.PAGE);
        if (pages.isData(block, n)) {
            flush();
            FileIo.writeFully(
                    file, ByteBuffer.allocate(RamBlock.PAGE), blocks.get(block).offset() + at);
        }
        mark(block, at, false);
    }

    private void mark(int block, long at, boolean data) {
        int n = (int) (at / RamBlock.PAGE);
        seen[block].set(n);
        pages.set(block, n, data);
    }

    private void flush() throws IOException {
        run.flip();
        sinceBegun += run.remaining();
        FileIo.writeFully(file, run, runAt);
        run.clear();
        if (sinceBegun >= BEGIN_EVERY) {
            sinceBegun = 0;
            writeback.run();
        }
    }

    /**
     * Writes what is left, gives the file its full size and forces it to the disk.
     *
     * @param tail what the parser has after the pages
     * @throws StreamException if a page never came
     */
    public DevicesFile finish(byte[] tail) throws IOException {
        flush();
        for (int i = 0; i < seen.length; i++) {
            int missing = blocks.get(i).pages() - seen[i].cardinality();
            if (missing > 0) {
                throw new StreamException("block " + blocks.get(i).name() + ": " + missing + " pages never came");
            }
        }
        DevicesFile devices = DevicesFile.of(head, setup, pages, tail);
        FileIo.setSize(file, fileBytes(blocks));
        file.force(true);
        return devices;
    }

    /** The stream's blocks; null before the setup section has come. */
    public List<RamBlock> blocks() {
        return blocks;
    }

    /** Bytes of pages that hold data. */
    public long dataBytes() {
        return pages.dataBytes();
    }

    /** Size of {@code ram.img}. */
    static long fileBytes(List<RamBlock> blocks) {
        return blocks.stream().mapToLong(b -> b.offset() + b.bytes()).max().orElse(0);
    }
}
