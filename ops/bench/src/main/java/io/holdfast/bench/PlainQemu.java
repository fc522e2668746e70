package io.holdfast.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** A VM without Holdfast: the same guest under the same QEMU, saved and loaded with QEMU's own means. Not thread-safe. */
final class PlainQemu implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration LIMIT = Duration.ofMinutes(2);

    private final Process process;
    private final SocketChannel channel;
    private final BufferedReader lines;

    private PlainQemu(Process process, SocketChannel channel) {
        this.process = process;
        this.channel = channel;
        this.lines =
                new BufferedReader(new InputStreamReader(Channels.newInputStream(channel), StandardCharsets.UTF_8));
    }

    /**
     * A VM's RAM.
     *
     * @param size as QEMU takes it: 256M, 1G
     * @param huge whether it is huge pages
     * @param file what holds it while the VM runs, or null: memory of the process
     */
    record Memory(String size, boolean huge, Path file) {
        /** Memory of the process; size as in a spec: 256MiB. */
        static Memory of(String size, boolean huge) {
            return new Memory(qemuSize(size), huge, null);
        }

        /** A file's; size as in a spec. */
        static Memory in(Path file, String size) {
            return new Memory(qemuSize(size), false, file);
        }

        private static String qemuSize(String size) {
            return size.replace("MiB", "M").replace("GiB", "G");
        }

        private String backend() {
            String sort = huge
                    ? "memory-backend-memfd,hugetlb=on,hugetlbsize=2M,share=off,prealloc=on"
                    : file == null ? "memory-backend-ram" : "memory-backend-file,share=on,mem-path=" + file;
            return sort + ",id=ram0,size=" + size;
        }
    }

    /**
     * Starts a VM.
     *
     * @param folder gets the QMP socket and the console log
     * @param incoming file to load, or null: boots
     */
    static PlainQemu start(
            Path folder, String name, String accelerator, Memory memory, Path guest, String cmdline, Path incoming) {
        return start(folder, name, accelerator, memory, guest, cmdline, incoming, null);
    }

    /** The same with a disk at virtio-blk: a raw file, or null. */
    static PlainQemu start(
            Path folder,
            String name,
            String accelerator,
            Memory memory,
            Path guest,
            String cmdline,
            Path incoming,
            Path disk) {
        try {
            Files.createDirectories(folder);
            Path socket = folder.resolve(name + ".qmp");
            Files.deleteIfExists(socket);
            List<String> command = new ArrayList<>(List.of(
                    "qemu-system-x86_64",
                    "-accel",
                    accelerator,
                    "-cpu",
                    "qemu64",
                    "-machine",
                    "pc-q35-9.0,memory-backend=ram0",
                    "-m",
                    memory.size(),
                    "-object",
                    memory.backend(),
                    "-nodefaults",
                    "-no-user-config",
                    "-display",
                    "none",
                    "-chardev",
                    "file,id=con,path=" + folder.resolve(name + ".log"),
                    "-serial",
                    "chardev:con",
                    "-qmp",
                    "unix:" + socket + ",server=on,wait=off",
                    "-kernel",
                    guest.resolve("vmlinuz").toString(),
                    "-initrd",
                    guest.resolve("initrd.gz").toString(),
                    "-append",
                    cmdline));
            if (disk != null) {
                command.addAll(List.of("-drive", "if=virtio,format=raw,discard=unmap,file=" + disk));
            }
            if (incoming != null) {
                command.addAll(List.of("-incoming", "file:" + incoming));
            }
            Process process = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(folder.resolve(name + ".qemu.log").toFile())
                    .start();
            PlainQemu vm = new PlainQemu(process, connect(socket, process));
            vm.lines.readLine(); // greeting
            vm.command("qmp_capabilities", "{}");
            return vm;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static SocketChannel connect(Path socket, Process process) throws IOException {
        long end = System.nanoTime() + LIMIT.toNanos();
        while (true) {
            SocketChannel c = SocketChannel.open(StandardProtocolFamily.UNIX);
            try {
                c.connect(UnixDomainSocketAddress.of(socket));
                return c;
            } catch (IOException e) {
                c.close();
                if (!process.isAlive() || System.nanoTime() > end) {
                    throw e;
                }
                Thread.onSpinWait();
                pause(2);
            }
        }
    }

    /** Sends a QMP command and waits for its answer. */
    JsonNode command(String name, String arguments) {
        try {
            ByteBuffer b = ByteBuffer.wrap(("{\"execute\":\"" + name + "\",\"arguments\":" + arguments + "}\n")
                    .getBytes(StandardCharsets.UTF_8));
            while (b.hasRemaining()) {
                channel.write(b);
            }
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                JsonNode n = JSON.readTree(line);
                if (n.has("error")) {
                    throw new IllegalStateException("QEMU refused " + name + ": " + n.get("error"));
                }
                if (n.has("return")) {
                    return n.get("return");
                }
            }
            throw new IllegalStateException("QEMU ended");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Begins to save to a file; the VM must be stopped. */
    void save(Path file) {
        command("migrate-set-parameters", "{\"max-bandwidth\":107374182400}");
        command("migrate", "{\"uri\":\"file:" + file + "\"}");
    }

    /** Waits until saving is over. */
    void awaitSaved() {
        long end = System.nanoTime() + LIMIT.toNanos();
        while (true) {
            String status = command("query-migrate", "{}").path("status").asText();
            if (status.equals("completed")) {
                return;
            }
            if (status.equals("failed") || System.nanoTime() > end) {
                throw new IllegalStateException("QEMU did not save: " + status);
            }
            pause(1);
        }
    }

    /** Waits until the VM runs, after a start with an incoming file. */
    void awaitRunning() {
        long end = System.nanoTime() + LIMIT.toNanos();
        for (String status = status(); !status.equals("running"); status = status()) {
            if (status.equals("paused")) {
                command("cont", "{}"); // it was stopped when it was saved, and is loaded as that
            }
            if (System.nanoTime() > end) {
                throw new IllegalStateException("the VM does not run");
            }
            pause(1);
        }
    }

    private String status() {
        return command("query-status", "{}").path("status").asText();
    }

    private static void pause(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }

    @Override
    public void close() {
        process.destroyForcibly();
        try {
            process.waitFor();
            channel.close();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
