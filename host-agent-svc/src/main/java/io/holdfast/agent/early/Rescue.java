package io.holdfast.agent.early;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Runs VMs that an agent which died has left standing, as the first act of the next one: before its container, its broker and its native
 * library are loaded, which take a JVM seconds. So it uses the JDK and JSON's parser only, and little of them.
 *
 * <p>It looks for instances whose state says that they run, asks each of their QEMUs, and says {@code cont} to those that stand. The
 * takeover proper comes later and sees to whatever was not found or did not answer here.
 *
 * <p>VMs are asked side by side, each on a thread of its own: a QEMU that does not answer keeps no other VM standing, nor the agent's start
 * longer than the patience.
 */
public final class Rescue {
    /** {@code sockaddr_un} has room for 108 bytes with the last 0. */
    private static final int LONGEST_ADDRESS = 107;

    private static final int LONGEST_LINE = 1 << 20;
    private static final String SOCKET = "qmp.sock";

    private final Path instances;
    private final Duration patience;
    private final Duration limit;
    private final List<Answer> answers = new ArrayList<>(); // guarded by itself
    private final JsonFactory json = new JsonFactory();

    /**
     * What a VM's QEMU said.
     *
     * @param status QEMU's name for the VM's state before, null when it did not tell
     * @param result "run-again", or what was found instead
     */
    public record Answer(String instance, String vm, String status, String result) {
        /** Whether the VM stood and runs again. */
        public boolean ranAgain() {
            return result.equals("run-again");
        }
    }

    /**
     * @param stateFolder the agent's
     * @param patience how long {@link #run} waits for answers
     * @param limit when VMs that have not answered are left to the takeover
     */
    public Rescue(Path stateFolder, Duration patience, Duration limit) {
        this.instances = stateFolder.resolve("instances");
        this.patience = patience;
        this.limit = limit;
    }

    /** Does it. What has answered within the patience; never throws, for the rest of the agent is to start whatever is the matter here. */
    public List<Answer> run() {
        List<Thread> asking = new ArrayList<>();
        for (Path instance : folders(instances)) {
            try {
                if ("RUNNING"
                        .equals(read(Files.readAllBytes(instance.resolve("state.json")))
                                .get("phase"))) {
                    for (Path vm : folders(instance.resolve("vms"))) {
                        asking.add(new Thread(
                                () -> ask(instance, vm), "rescue-" + instance.getFileName() + "." + vm.getFileName()));
                    }
                }
            } catch (NoSuchFileException justBegun) {
                // None of its VMs has run.
            } catch (IOException e) {
                note(new Answer(name(instance), "*", null, "state unreadable: " + e.getMessage()));
            }
        }
        CountDownLatch done = new CountDownLatch(asking.size());
        for (Thread t : asking) {
            t.setDaemon(true);
            t.start();
        }
        Thread waiting = new Thread(() -> joinAll(asking, done), "rescue");
        waiting.setDaemon(true);
        waiting.start();
        try {
            if (!done.await(patience.toMillis(), TimeUnit.MILLISECONDS)) {
                note(new Answer("*", "*", null, done.getCount() + " QEMUs have not answered yet"));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        synchronized (answers) {
            return List.copyOf(answers);
        }
    }

    /** Counts those that end, and at the limit makes the others give up: an agent's takeover needs their QMP. */
    private void joinAll(List<Thread> asking, CountDownLatch done) {
        long end = System.nanoTime() + limit.toNanos();
        for (Thread t : asking) {
            try {
                if (!t.join(Duration.ofNanos(Math.max(1, end - System.nanoTime())))) {
                    t.interrupt();
                    t.join();
                }
                done.countDown();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
        }
    }

    private static String name(Path folder) {
        return folder.getFileName().toString();
    }

    private void note(Answer answer) {
        synchronized (answers) {
            answers.add(answer);
        }
    }

    private List<Path> folders(Path top) {
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> all = Files.newDirectoryStream(top)) {
            all.forEach(found::add);
        } catch (NoSuchFileException | NotDirectoryException e) {
            return List.of();
        } catch (IOException | java.nio.file.DirectoryIteratorException e) {
            note(new Answer(name(top), "*", null, "unreadable: " + e.getMessage()));
        }
        return found;
    }

    private void ask(Path instance, Path vm) {
        String status = null;
        String result;
        try (SocketChannel qmp = connect(vm)) {
            Lines lines = new Lines(qmp);
            lines.next(); // the greeting
            lines.execute("qmp_capabilities");
            status = lines.execute("query-status").get("return.status");
            calm(vm);
            if ("running".equals(status) || "inmigrate".equals(status)) {
                result = "as it should be";
            } else {
                lines.execute("cont");
                result = "run-again";
            }
        } catch (IOException | RuntimeException e) {
            result = String.valueOf(e.getMessage() == null ? e : e.getMessage());
        }
        note(new Answer(name(instance), name(vm), status, result));
    }

    private static SocketChannel connect(Path vm) throws IOException {
        Path socket = vm.resolve(SOCKET);
        if (socket.toString().getBytes(StandardCharsets.UTF_8).length <= LONGEST_ADDRESS) {
            return open(socket);
        }
        // Longer than an address can be: by a link in a folder of our own that only we can enter.
        Path folder = Files.createTempDirectory("hf");
        Path link = folder.resolve("v");
        try {
            Files.createSymbolicLink(link, vm.toAbsolutePath());
            return open(link.resolve(SOCKET));
        } finally {
            Files.deleteIfExists(link);
            Files.delete(folder);
        }
    }

    private static SocketChannel open(Path socket) throws IOException {
        SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        try {
            channel.connect(UnixDomainSocketAddress.of(socket));
            return channel;
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    /** What QEMU says and is told, line by line. */
    private final class Lines {
        private final SocketChannel qmp;
        private final ByteBuffer in = ByteBuffer.allocate(8192).limit(0);

        Lines(SocketChannel qmp) {
            this.qmp = qmp;
        }

        /** The next line that is no event, flattened. */
        Map<String, String> next() throws IOException {
            ByteArrayOutputStream line = new ByteArrayOutputStream(512);
            while (true) {
                while (in.hasRemaining()) {
                    byte b = in.get();
                    if (b != '\n') {
                        line.write(b);
                        continue;
                    }
                    Map<String, String> said = read(line.toByteArray());
                    if (!said.containsKey("event")) {
                        return said;
                    }
                    line.reset();
                }
                if (line.size() > LONGEST_LINE) {
                    throw new IOException("a line is longer than " + LONGEST_LINE + " bytes");
                }
                in.clear();
                int n = qmp.read(in);
                in.flip();
                if (n < 0) {
                    throw new IOException("QMP has ended");
                }
            }
        }

        /** Says a command and waits for its answer. */
        Map<String, String> execute(String command) throws IOException {
            ByteBuffer out = ByteBuffer.wrap(("{\"execute\":\"" + command + "\"}\n").getBytes(StandardCharsets.UTF_8));
            while (out.hasRemaining()) {
                qmp.write(out);
            }
            Map<String, String> answer = next();
            if (answer.containsKey("error.class")) {
                throw new IOException(command + ": " + answer.get("error.desc"));
            }
            return answer;
        }
    }

    /** The values of a JSON object by their paths, {@code a.b}; those in arrays are left out. */
    private Map<String, String> read(byte[] text) throws IOException {
        Map<String, String> values = new HashMap<>();
        try (JsonParser p = json.createParser(text)) {
            List<String> path = new ArrayList<>();
            for (JsonToken t = p.nextToken(); t != null; t = p.nextToken()) {
                if (t == JsonToken.START_ARRAY) {
                    p.skipChildren();
                } else if (t == JsonToken.START_OBJECT) {
                    path.add(p.currentName());
                } else if (t == JsonToken.END_OBJECT) {
                    path.removeLast();
                } else if (t.isScalarValue()) {
                    StringBuilder key = new StringBuilder();
                    for (String part : path.subList(Math.min(1, path.size()), path.size())) {
                        key.append(part).append('.');
                    }
                    values.put(key.append(p.currentName()).toString(), p.getText());
                }
            }
        }
        return values;
    }

    /** An agent that died in a cut may have left QEMU's threads before all others (QemuThreads): not when the VM runs, it would keep us from starting. */
    private void calm(Path vm) {
        try {
            String pid = read(Files.readAllBytes(vm.resolve("vm.json"))).get("pid");
            Path proc = Path.of("/proc", pid);
            if (!Files.isSameFile(proc.resolve("cwd"), vm)) {
                return; // another process has that number by now
            }
            for (Path thread : folders(proc.resolve("task"))) {
                String stat = new String(Files.readAllBytes(thread.resolve("stat")), StandardCharsets.ISO_8859_1);
                // Field 41 of proc(5) is the policy; the name, field 2, may hold anything.
                String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
                if (!fields[38].equals("0")) {
                    Process chrt = new ProcessBuilder("chrt", "--all-tasks", "--other", "--pid", "0", pid)
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                            .redirectError(ProcessBuilder.Redirect.DISCARD)
                            .start();
                    boolean ignored = chrt.waitFor(1, TimeUnit.SECONDS);
                    return;
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (IOException | RuntimeException e) {
            note(new Answer(
                    name(vm.getParent().getParent()), name(vm), null, "threads not looked at: " + e.getMessage()));
        }
    }
}
