package io.holdfast.agent.image;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Makes streams as QEMU's background snapshot does, with random pages in random order. */
final class SyntheticStream {
    final Map<String, byte[]> blocks = new LinkedHashMap<>();
    final byte[] bytes;

    SyntheticStream(long seed) {
        var random = new Random(seed);
        blocks.put("ram0", new byte[RamBlock.PAGE * (1 + random.nextInt(40))]);
        blocks.put("pc.bios", new byte[RamBlock.PAGE * (1 + random.nextInt(5))]);
        blocks.put("/rom@etc/acpi/rsdp", new byte[RamBlock.PAGE]);
        List<Object[]> pages = new ArrayList<>();
        blocks.forEach((name, data) -> {
            for (int at = 0; at < data.length; at += RamBlock.PAGE) {
                pages.add(new Object[] {name, at});
                if (random.nextInt(3) > 0) {
                    byte[] page = new byte[RamBlock.PAGE];
                    random.nextBytes(page);
                    System.arraycopy(page, 0, data, at, page.length);
                }
            }
        });
        if (random.nextBoolean()) {
            java.util.Collections.shuffle(pages, random);
        }
        var buffer = new ByteArrayOutputStream();
        try (var out = new DataOutputStream(buffer)) {
            out.writeInt(StreamFormat.MAGIC);
            out.writeInt(StreamFormat.VERSION);
            out.writeByte(StreamFormat.SECTION_CONFIGURATION);
            text32(out, "pc-q35-9.0");
            out.writeByte(StreamFormat.SECTION_START);
            out.writeInt(2);
            text8(out, "ram");
            out.writeInt(0);
            out.writeInt(4);
            long total = blocks.values().stream().mapToLong(b -> b.length).sum();
            out.writeLong(total | StreamFormat.RAM_MEM_SIZE);
            for (var b : blocks.entrySet()) {
                text8(out, b.getKey());
                out.writeLong(b.getValue().length);
            }
            end(out);
            String last = null;
            int left = 0;
            for (Object[] p : pages) {
                if (left == 0) {
                    if (last != null) {
                        end(out);
                    }
                    out.writeByte(StreamFormat.SECTION_PART);
                    out.writeInt(2);
                    left = 1 + random.nextInt(20);
                }
                left--;
                String name = (String) p[0];
                int at = (Integer) p[1];
                byte[] data = blocks.get(name);
                boolean zero = true;
                for (int i = 0; i < RamBlock.PAGE; i++) {
                    zero &= data[at + i] == 0;
                }
                boolean same = name.equals(last);
                out.writeLong((long) at
                        | (zero ? StreamFormat.RAM_ZERO : StreamFormat.RAM_PAGE)
                        | (same ? StreamFormat.RAM_CONTINUE : 0));
                if (!same) {
                    text8(out, name);
                }
                if (zero) {
                    out.writeByte(0);
                } else {
                    out.write(data, at, RamBlock.PAGE);
                }
                last = name;
            }
            end(out);
            out.write(tail());
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
        bytes = buffer.toByteArray();
    }

    static byte[] tail() throws IOException {
        var buffer = new ByteArrayOutputStream();
        var out = new DataOutputStream(buffer);
        out.writeByte(StreamFormat.SECTION_FULL);
        out.writeInt(7);
        text8(out, "timer");
        out.writeInt(0);
        out.writeInt(2);
        out.writeLong(0x0006123456789aL);
        out.writeByte(StreamFormat.SECTION_FOOTER);
        out.writeInt(7);
        out.writeByte(StreamFormat.SECTION_EOF);
        out.writeByte(StreamFormat.SECTION_VMDESCRIPTION);
        text32(
                out,
                "{\"configuration\": {}, \"devices\": [{\"name\": \"timer\", \"instance_id\": 0, \"version\": 2}]}");
        return buffer.toByteArray();
    }

    private static void end(DataOutputStream out) throws IOException {
        out.writeLong(StreamFormat.RAM_EOS);
        out.writeByte(StreamFormat.SECTION_FOOTER);
        out.writeInt(2);
    }

    private static void text8(DataOutputStream out, String text) throws IOException {
        out.writeByte(text.length());
        out.write(text.getBytes(StandardCharsets.US_ASCII));
    }

    private static void text32(DataOutputStream out, String text) throws IOException {
        out.writeInt(text.length());
        out.write(text.getBytes(StandardCharsets.US_ASCII));
    }
}
