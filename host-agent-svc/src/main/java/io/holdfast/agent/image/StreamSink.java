package io.holdfast.agent.image;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** Takes what {@link StreamParser} finds, in the stream's order, on the parser's thread. */
public interface StreamSink {
    /**
     * Header and RAM setup are complete.
     *
     * @param head magic, version and configuration section, as they were
     * @param setup the RAM setup section, as it was
     * @param blocks the RAM blocks in the stream's order, with their places in {@code ram.img}
     */
    void setup(byte[] head, byte[] setup, List<RamBlock> blocks) throws IOException;

    /** The first RAM record has come: device state is saved in QEMU and RAM is write-protected. Called once. */
    void armed();

    /**
     * A page of data.
     *
     * @param block index of the block
     * @param at offset in the block
     * @param page {@link RamBlock#PAGE} bytes at the buffer's position; must be consumed. They stay what they are until {@link #fed} if the
     *     buffer is direct, else only until this returns
     */
    void page(int block, long at, ByteBuffer page) throws IOException;

    /** A page of zeroes. */
    void zero(int block, long at) throws IOException;

    /** What the parser was fed is used up: the bytes of pages that came with it are somebody else's from now on. */
    default void fed() throws IOException {}
}
