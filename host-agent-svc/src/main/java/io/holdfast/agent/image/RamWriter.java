package io.holdfast.agent.image;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/**
 * Writes the pages of a stream to {@code ram.img}, each at its fixed place; zero pages become holes. Pages that follow each other are
 * written at once, from where they are (a gathering write). Pages that were copied before the guest wrote to them ({@link #keep})
 * stand above the stream's. One thread at a time; {@link #armedSignal} is run on that thread.
 */
public final class RamWriter implements StreamSink {
    private static final int RUN_PAGES = 256;
    /** Bytes after which the disk is to begin, so that little is left to wait for at the end. */
    private static final int BEGIN_EVERY = 8 << 20;

    private final FileChannel file;
    private final Runnable armedSignal;
    private final Runnable writeback;
    private final ByteBuffer[] run = new ByteBuffer[RUN_PAGES];
    private int runPages;
    private long runAt;
    /** For pages of the run whose bytes do not stay. */
    private final ByteBuffer spare = ByteBuffer.allocateDirect(RUN_PAGES * RamBlock.PAGE);

    private int sinceBegun;
    private byte[] head;
    private byte[] setup;
    private List<RamBlock> blocks;
    private PageMap pages;
    private BitSet[] seen;
    private BitSet[] kept;
    private final ByteBuffer zeroPage = ByteBuffer.allocateDirect(RamBlock.PAGE);

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
        kept = new BitSet[ramBlocks.size()];
        for (int i = 0; i < seen.length; i++) {
            seen[i] = new BitSet(ramBlocks.get(i).pages());
            kept[i] = new BitSet();
        }
    }

    @Override
    public void armed() {
        armedSignal.run();
    }

    @Override
    public void page(int block, long at, ByteBuffer page) throws IOException {
        if (isKept(block, at)) {
            page.position(page.position() + RamBlock.PAGE);
            return;
        }
        long place = blocks.get(block).offset() + at;
        if (runPages == RUN_PAGES || place != runAt + (long) runPages * RamBlock.PAGE) {
            flush();
        }
        if (runPages == 0) {
            runAt = place;
        }
        int from = page.position();
        if (page.isDirect()) {
            run[runPages] = page.slice(from, RamBlock.PAGE);
        } else {
            int to = runPages * RamBlock.PAGE;
            spare.put(to, page, from, RamBlock.PAGE);
            run[runPages] = spare.slice(to, RamBlock.PAGE);
        }
        runPages++;
        page.position(from + RamBlock.PAGE);
        mark(block, at, true);
    }

    @Override
    public void zero(int block, long at) throws IOException {
        if (!isKept(block, at)) {
            clear(block, at);
            mark(block, at, false);
        }
    }

    /** A page that was written may turn out to be zero. */
    private void clear(int block, long at) throws IOException {
        if (pages.isData(block, (int) (at / RamBlock.PAGE))) {
            flush();
            FileIo.writeFully(file, zeroPage.duplicate(), blocks.get(block).offset() + at);
        }
    }

    /** Whether a page is kept: then the stream's is only counted, because it may be newer than the cut. */
    private boolean isKept(int block, long at) {
        int n = (int) (at / RamBlock.PAGE);
        if (!kept[block].get(n)) {
            return false;
        }
        seen[block].set(n);
        return true;
    }

    /**
     * Pages that were copied before the guest wrote to them. They are what the image has, whether the stream's come before or after.
     *
     * @param name the block's
     * @param from offset of the first page in the block
     * @param copy whole pages; its position is moved to its limit
     */
    public void keep(String name, long from, ByteBuffer copy) throws IOException {
        int block = 0;
        while (block < blocks.size() && !blocks.get(block).name().equals(name)) {
            block++;
        }
        if (block == blocks.size()
                || from % RamBlock.PAGE != 0
                || copy.remaining() % RamBlock.PAGE != 0
                || from + copy.remaining() > blocks.get(block).bytes()) {
            throw new StreamException("kept pages of block '" + name + "' at 0x" + Long.toHexString(from) + ", "
                    + copy.remaining() + " bytes, which the stream does not have");
        }
        flush();
        for (long at = from; copy.hasRemaining(); ) {
            int start = copy.position();
            int end = start + RamBlock.PAGE;
            boolean data = !isZero(copy, start);
            if (data) {
                while (end < copy.limit() && !isZero(copy, end)) {
                    end += RamBlock.PAGE;
                }
                FileIo.writeFully(
                        file, copy.slice(start, end - start), blocks.get(block).offset() + at);
            } else {
                clear(block, at);
            }
            for (int n = (int) (at / RamBlock.PAGE), to = n + (end - start) / RamBlock.PAGE; n < to; n++) {
                pages.set(block, n, data);
                kept[block].set(n);
            }
            copy.position(end);
            at += end - start;
        }
    }

    private boolean isZero(ByteBuffer from, int at) {
        return from.slice(at, RamBlock.PAGE).mismatch(zeroPage.duplicate()) < 0;
    }

    private void mark(int block, long at, boolean data) {
        int n = (int) (at / RamBlock.PAGE);
        seen[block].set(n);
        pages.set(block, n, data);
    }

    @Override
    public void fed() throws IOException {
        flush();
    }

    private void flush() throws IOException {
        if (runPages == 0) {
            return;
        }
        int bytes = runPages * RamBlock.PAGE;
        FileIo.writeFully(file, run, runPages, runAt, bytes);
        Arrays.fill(run, 0, runPages, null);
        runPages = 0;
        sinceBegun += bytes;
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
