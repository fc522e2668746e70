package io.holdfast.agent.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class QemuBlocksTest {
    @Test
    void givenWhatQemu10SaysThenBlocksThatAGuestCanWriteToAreFoundWithTheirAddresses() {
        assertThat(QemuBlocks.parse("""
                                  Block Name    PSize              Offset               Used              Total                HVA  RO
                                        ram0    2 MiB  0x0000000000000000 0x0000000010000000 0x0000000010000000 0x00007f12d3e00000  rw
                        /rom@etc/acpi/tables    4 KiB  0x0000000010080000 0x0000000000020000 0x0000000000200000 0x00007f12d2000000  ro
                        0000:00:01.0/vga.vram    4 KiB  0x0000000010080000 0x0000000001000000 0x0000000001000000 0xffff7f12d2000000  rw
                        """))
                .containsExactly(
                        new QemuBlocks.Block("ram0", 0x7f12d3e00000L, 256 << 20, 2 << 20),
                        new QemuBlocks.Block("0000:00:01.0/vga.vram", 0xffff7f12d2000000L, 16 << 20, 4096));
    }

    @Test
    void givenAQemuThatSaysNoAddressesThenThereAreNone() {
        assertThat(QemuBlocks.parse("""
                                  Block Name    PSize              Offset               Used              Total
                                        ram0    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000
                        """)).isEmpty();
        assertThat(QemuBlocks.parse("")).isEmpty();
    }
}
