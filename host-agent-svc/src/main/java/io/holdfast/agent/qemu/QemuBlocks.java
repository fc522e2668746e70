package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * RAM blocks of a VM and where QEMU has them, from its monitor's {@code info ramblock} (QEMU 8.0 and newer says the addresses). Stateless.
 *
 * <pre>
 *   Block Name    PSize              Offset               Used              Total                HVA  RO
 *         ram0    2 MiB  0x0000000000000000 0x0000000010000000 0x0000000010000000 0x00007f12d3e00000  rw
 * </pre>
 */
final class QemuBlocks {
    private static final Pattern LINE = Pattern.compile(
            "\\s*(\\S+)\\s+(\\d+) ([KMG])iB\\s+0x[0-9a-f]+\\s+0x([0-9a-f]+)\\s+0x[0-9a-f]+\\s+0x([0-9a-f]+)\\s+rw\\s*");

    private QemuBlocks() {}

    /**
     * A block that a guest can write to.
     *
     * @param address in QEMU's address space
     * @param bytes its used length
     * @param page size of the host's pages that it lies in
     */
    record Block(String name, long address, long bytes, long page) {}

    /** Those of a VM; none when QEMU does not tell. */
    static List<Block> ask(QmpClient qmp, Duration limit) throws IOException, AgentException {
        return parse(
                qmp.execute("human-monitor-command", QmpClient.arguments().put("command-line", "info ramblock"), limit)
                        .asText());
    }

    static List<Block> parse(String text) {
        List<Block> found = new ArrayList<>();
        text.lines().forEach(line -> {
            Matcher m = LINE.matcher(line);
            if (m.matches()) {
                int shift =
                        switch (m.group(3)) {
                            case "K" -> 10;
                            case "M" -> 20;
                            default -> 30;
                        };
                found.add(new Block(
                        m.group(1),
                        Long.parseUnsignedLong(m.group(5), 16),
                        Long.parseUnsignedLong(m.group(4), 16),
                        Long.parseLong(m.group(2)) << shift));
            }
        });
        return found;
    }
}
