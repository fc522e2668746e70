package io.holdfast.agent.image;

/**
 * Numbers of QEMU's migration stream, version 3, as QEMU 9 and 10 write it. Source: QEMU {@code docs/devel/migration/main.rst},
 * {@code migration/savevm.c} and {@code migration/ram.c}. All integers are big endian.
 */
final class StreamFormat {
    static final int MAGIC = 0x5145564d;
    static final int VERSION = 3;

    static final int SECTION_EOF = 0x00;
    static final int SECTION_START = 0x01;
    static final int SECTION_PART = 0x02;
    static final int SECTION_END = 0x03;
    static final int SECTION_FULL = 0x04;
    static final int SECTION_VMDESCRIPTION = 0x06;
    static final int SECTION_CONFIGURATION = 0x07;
    static final int SECTION_FOOTER = 0x7e;

    static final int RAM_ZERO = 0x02;
    static final int RAM_MEM_SIZE = 0x04;
    static final int RAM_PAGE = 0x08;
    static final int RAM_EOS = 0x10;
    static final int RAM_CONTINUE = 0x20;
    static final int RAM_FLAGS = 0xfff;

    /** Version of QEMU's section "ram". */
    static final int RAM_SECTION_VERSION = 4;

    private StreamFormat() {}
}
