package io.holdfast.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** Says what a file of Holdfast is, from its own content. Reads only; any file is taken as possibly hostile. */
@Command(
        name = "inspect",
        description = {
            "Says what an image folder or a file of one holds: machine.json and other JSON, devices.bin, ram.img,"
                    + " frames-*.pcapng.",
            "./holdfast inspect s3:KEY tells of an object of the repository (s3:config, s3:packs/...); so it does of a file that is"
                    + " one.",
            "Works without a coordinator. The formats are in docs/formats.md."
        },
        mixinStandardHelpOptions = true)
final class Inspect implements Callable<Integer> {
    private static final int MAX_JSON = 16 << 20;
    private static final int MAX_FRAMES = 100_000;
    private static final int MAX_BLOCK = 1 << 20;
    private static final int SHOWN_FRAMES = 20;
    private static final byte[] DEVICES_MAGIC = "HFDEVICE".getBytes(StandardCharsets.US_ASCII);

    @ParentCommand
    private Main main;

    @Parameters(paramLabel = "PATH", description = "A file, an image folder, or a folder of image folders.")
    private Path path;

    @Override
    public Integer call() throws IOException {
        if (!Files.exists(path)) {
            throw new NoSuchFileException(path.toString());
        }
        List<Map<String, Object>> found = new ArrayList<>();
        if (Files.isDirectory(path)) {
            try (Stream<Path> files = Files.walk(path, 3)) {
                for (Path f : files.filter(Files::isRegularFile).sorted().toList()) {
                    found.add(file(f, path.relativize(f).toString()));
                }
            }
        } else {
            found.add(file(path, path.getFileName().toString()));
        }
        if (main.json()) {
            main.writeJson(found);
            return 0;
        }
        if (found.size() > 1) {
            Table t = new Table("FILE", "KIND", "SIZE", "ON DISK", "CONTENT");
            found.forEach(f -> t.row(
                    f.get("file"),
                    f.get("kind"),
                    Text.bytes((Long) f.get("bytes")),
                    Text.bytes((Long) f.get("allocated")),
                    f.get("summary")));
            t.print(main.out());
        } else if (!found.isEmpty()) {
            details(found.get(0), main.out());
        }
        return 0;
    }

    private static void details(Map<String, Object> f, PrintStream out) {
        out.printf(
                "%s: %s, %s (%s on disk)%n%s%n",
                f.get("file"),
                f.get("kind"),
                Text.bytes((Long) f.get("bytes")),
                Text.bytes((Long) f.get("allocated")),
                f.get("summary"));
        if (f.get("content") instanceof JsonNode n) {
            out.println(n.toPrettyString());
        }
        if (f.get("frames") instanceof List<?> frames) {
            frames.stream().limit(SHOWN_FRAMES).forEach(l -> out.println("  " + l));
            if (frames.size() > SHOWN_FRAMES) {
                out.println("  ... (-o json shows all)");
            }
        }
    }

    private static Map<String, Object> file(Path f, String name) throws IOException {
        Map<String, Object> m = new LinkedHashMap<>();
        long size = Files.size(f);
        m.put("file", name);
        m.put("kind", "other");
        m.put("bytes", size);
        m.put("allocated", allocated(f, size));
        m.put("summary", "");
        String base = f.getFileName().toString();
        try {
            if (base.endsWith(".json")) {
                json(f, size, m);
            } else if (base.endsWith(".pcapng")) {
                pcapng(f, size, m);
            } else if (base.equals("devices.bin")) {
                devices(f, m);
            } else if (base.equals("ram.img")) {
                m.put("kind", "guest RAM");
                m.put("summary", "a page at a fixed offset, holes are zero; blocks are in machine.json");
            } else if (base.startsWith("disk-")) {
                m.put("kind", "scratch disk");
            }
        } catch (IOException | RuntimeException e) {
            m.put("summary", "DAMAGED: " + e.getMessage());
            m.put("damaged", true);
        }
        return m;
    }

    private static long allocated(Path f, long size) {
        try {
            // GNU stat: a portable view of allocated blocks does not exist in Java.
            Process p = new ProcessBuilder("stat", "-c", "%b %B", f.toString())
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            String[] words = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                    .strip()
                    .split(" ", -1);
            return words.length == 2 ? Long.parseLong(words[0]) * Long.parseLong(words[1]) : size;
        } catch (IOException | NumberFormatException e) {
            return size;
        }
    }

    private static void json(Path f, long size, Map<String, Object> m) throws IOException {
        if (size > MAX_JSON) {
            throw new IOException("too large for JSON of Holdfast");
        }
        JsonNode n = Api.json().readTree(Files.readAllBytes(f));
        m.put("content", n);
        if (n.path("format").asText().equals("holdfast-machine")) {
            m.put("kind", "machine");
            m.put(
                    "summary",
                    String.format(
                            Locale.ROOT,
                            "version %d: %s of %s, %s, QEMU %s, %s, RAM %s of which %s data",
                            n.path("version").asInt(),
                            n.path("vm").path("name").asText(),
                            n.path("checkpoint").asText(),
                            n.path("qemu").path("machine").asText(),
                            n.path("qemu").path("version").asText(),
                            n.path("qemu").path("accelerator").asText(),
                            Text.bytes(n.path("ram").path("bytes").asLong()),
                            Text.bytes(n.path("ram").path("dataBytes").asLong())));
        } else {
            m.put("kind", "JSON");
            m.put("summary", n.has("checkpoint") ? "of " + n.get("checkpoint").asText() : "");
        }
    }

    private static void devices(Path f, Map<String, Object> m) throws IOException {
        m.put("kind", "device state");
        try (FileChannel in = FileChannel.open(f)) {
            ByteBuffer head = read(in, 0, 16);
            byte[] magic = new byte[8];
            head.get(magic);
            if (!java.util.Arrays.equals(magic, DEVICES_MAGIC)) {
                throw new IOException("the magic is not HFDEVICE");
            }
            int version = head.getInt();
            int sections = head.getInt();
            List<String> names = new ArrayList<>();
            long at = 16;
            for (int i = 0; i < sections && i < 64; i++) {
                ByteBuffer section = read(in, at, 12);
                byte[] tag = new byte[4];
                section.get(tag);
                long length = section.getLong();
                if (length < 0 || at + 12 + length > in.size()) {
                    throw new IOException("section " + i + " is cut off");
                }
                names.add(new String(tag, StandardCharsets.US_ASCII) + " " + Text.bytes(length));
                at += 12 + length;
            }
            m.put("summary", "version " + version + ": " + String.join(", ", names));
        }
    }

    private static void pcapng(Path f, long size, Map<String, Object> m) throws IOException {
        m.put("kind", "frames in flight");
        List<String> frames = new ArrayList<>();
        try (FileChannel in = FileChannel.open(f)) {
            for (long at = 0; at < size; ) {
                ByteBuffer head = read(in, at, 8).order(ByteOrder.LITTLE_ENDIAN);
                int type = head.getInt();
                int total = head.getInt();
                if (total < 12 || total > MAX_BLOCK || at + total > size || (at == 0 && type != 0x0a0d0d0a)) {
                    throw new IOException("no valid pcapng block at byte " + at);
                }
                if (type == 6) {
                    if (frames.size() == MAX_FRAMES) {
                        throw new IOException("more than " + MAX_FRAMES + " frames");
                    }
                    frames.add(frame(read(in, at + 8, total - 12).order(ByteOrder.LITTLE_ENDIAN)));
                }
                at += total;
            }
        }
        m.put("frames", frames);
        m.put("summary", frames.size() + (frames.size() == 1 ? " frame" : " frames"));
    }

    private static String frame(ByteBuffer packet) {
        int length = packet.getInt(16);
        if (length < 14 || length > packet.limit() - 20) {
            return length + " bytes";
        }
        byte[] mac = new byte[6];
        packet.position(20).get(mac);
        String to = HexFormat.ofDelimiter(":").formatHex(mac);
        packet.get(mac);
        String from = HexFormat.ofDelimiter(":").formatHex(mac);
        int type = Short.toUnsignedInt(Short.reverseBytes(packet.getShort()));
        return String.format(
                Locale.ROOT, "%5d bytes  %s -> %s  type 0x%04x%s", length, from, to, type, ip(packet, type));
    }

    private static String ip(ByteBuffer packet, int type) {
        int at = 34;
        if (type != 0x0800 || packet.limit() < at + 20) {
            return "";
        }
        int protocol = packet.get(at + 9) & 0xff;
        return String.format(
                Locale.ROOT,
                "  %s %s -> %s",
                protocol == 6 ? "TCP" : protocol == 17 ? "UDP" : "IP protocol " + protocol,
                address(packet, at + 12),
                address(packet, at + 16));
    }

    private static String address(ByteBuffer b, int at) {
        return (b.get(at) & 0xff) + "." + (b.get(at + 1) & 0xff) + "." + (b.get(at + 2) & 0xff) + "."
                + (b.get(at + 3) & 0xff);
    }

    private static ByteBuffer read(FileChannel in, long at, int bytes) throws IOException {
        ByteBuffer b = ByteBuffer.allocate(bytes);
        while (b.hasRemaining()) {
            if (in.read(b, at + b.position()) < 0) {
                throw new IOException("the file ends early");
            }
        }
        return b.flip();
    }
}
