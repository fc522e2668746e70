package io.holdfast.agent.image;

/**
 * A RAM block of a VM and its place in {@code ram.img}.
 *
 * @param name QEMU's name of the block: {@code ram0} is the guest's RAM, others are ROMs and tables
 * @param offset where the block begins in {@code ram.img}, a multiple of {@link #ALIGNMENT}
 * @param bytes used size, a multiple of {@link #PAGE}
 */
public record RamBlock(String name, long offset, long bytes) {
    /** Name of the block that is the guest's RAM, by the id of its memory backend. */
    public static final String MAIN = "ram0";

    /** Size of a page in the stream and in {@code ram.img}: x86's target page. */
    public static final int PAGE = 4096;

    /** Blocks begin at multiples of this in {@code ram.img}. */
    public static final long ALIGNMENT = 2L << 20;

    /** Largest block: its pages are counted in 31 bits. */
    public static final long MAX_BYTES = (long) Integer.MAX_VALUE * PAGE;

    /** Whether this is the guest's RAM, which a fresh QEMU has zeroed. */
    public boolean main() {
        return name.equals(MAIN);
    }

    /** Pages in the block. */
    public int pages() {
        return Math.toIntExact(bytes / PAGE);
    }
}
