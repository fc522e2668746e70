package io.holdfast.agent.image;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.Frame;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.VmImage;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;

/** Prints what an image folder holds, for people. Checks it on the way, as a restart would. */
public final class ImageInspector {
    private static final int SHOWN_FRAMES = 10;

    private final PrintStream out;

    public ImageInspector(PrintStream out) {
        this.out = out;
    }

    /** {@code java ... ImageInspector FOLDER}: prints an image folder. Exit status 1 when it is broken. */
    public static void main(String[] args) {
        if (args.length != 1) {
            System.err.println("usage: ImageInspector IMAGE-FOLDER/CHECKPOINT/VM");
            System.exit(2);
        }
        try {
            new ImageInspector(System.out).print(Path.of(args[0]).toRealPath());
        } catch (IOException | AgentException e) {
            System.err.println(e.getMessage());
            System.exit(1);
        }
    }

    /**
     * Prints an image.
     *
     * @param folder {@code <images>/<checkpoint>/<vm>}
     */
    public void print(Path folder) throws IOException, AgentException {
        ImageFolder image = ImageFolder.open(
                folder,
                folder.getParent().getFileName().toString(),
                folder.getFileName().toString());
        MachineFile m = image.machine();
        out.printf("checkpoint   %s%n", m.checkpoint());
        out.printf("instance     %s%n", m.instance());
        out.printf("vm           %s: %d vCPU, %s%n", m.vm().name(), m.vm().vcpus(), m.vm().memory());
        out.printf(
                "taken        %s%n",
                Instant.ofEpochSecond(m.takenAtMicros() / 1_000_000, m.takenAtMicros() % 1_000_000 * 1000));
        out.printf(
                "qemu         %s, %s, cpu %s, %s, %s%n",
                m.qemu().version(),
                m.qemu().machine(),
                m.qemu().cpu(),
                m.qemu().accelerator(),
                m.qemu().hugepages() ? "huge pages" : "ordinary pages");
        DevicesFile devices = image.devices();
        PageMap pages = PageMap.decode(devices.pageMap(), m.ram().blocks());
        out.printf(
                "ram          %d bytes, %d of data%n", m.ram().bytes(), m.ram().dataBytes());
        for (int i = 0; i < m.ram().blocks().size(); i++) {
            RamBlock b = m.ram().blocks().get(i);
            int data = 0;
            for (int p = pages.nextData(i, 0); p >= 0; p = pages.nextData(i, p + 1)) {
                data++;
            }
            out.printf(
                    "  block      %-28s at %12d  %12d bytes  %8d pages of data%n",
                    b.name(), b.offset(), b.bytes(), data);
        }
        out.printf("devices      %d bytes%n", devices.devices().length);
        JsonNode description = EventCodec.json().readTree(new String(devices.description(), StandardCharsets.UTF_8));
        for (JsonNode d : description.path("devices")) {
            out.printf(
                    "  device     %-40s instance %d version %d%n",
                    d.path("name").asText(),
                    d.path("instance_id").asLong(),
                    d.path("version").asLong());
        }
        for (MachineFile.Disk d : m.disks()) {
            out.printf("disk         %s %s %s %d bytes%n", d.name(), d.mode(), d.file(), d.bytes());
        }
        for (int i = 0; i < m.nics().size(); i++) {
            List<Frame> frames = image.readFrames(i);
            out.printf(
                    "nic %d        %s mtu %d segment %s: %d frames in flight%n",
                    i, m.nics().get(i).mac(), m.nics().get(i).mtu(), image.segment(i), frames.size());
            for (Frame f : frames.subList(0, Math.min(frames.size(), SHOWN_FRAMES))) {
                int n = f.data().length - Frame.VNET_HEADER;
                out.printf(
                        "  frame      %5d bytes %s...%n",
                        n, HexFormat.of().formatHex(f.data(), Frame.VNET_HEADER, Frame.VNET_HEADER + Math.min(14, n)));
            }
        }
        for (VmImage.ImageFile f : m.files()) {
            out.printf(
                    "file         %-20s %12d bytes  %s%n", f.name(), f.bytes(), f.sha256() == null ? "-" : f.sha256());
        }
    }
}
