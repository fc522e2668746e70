package io.holdfast.devstack;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A real Kafka broker as a child process. It ends with the process that started it, at the latest.
 *
 * <p>It makes no topics by itself. Not thread-safe.
 */
public final class KafkaBroker implements AutoCloseable {
    private static final Duration START_LIMIT = Duration.ofMinutes(3);
    private static final int CHECK_MILLIS = 2000;

    private final Path dir;
    private final int port;
    private ProcessKit.Running process;

    private KafkaBroker(Path dir, int port) {
        this.dir = dir;
        this.port = port;
    }

    /**
     * Starts a broker on the loopback address and waits until it takes requests.
     *
     * @param dir gets {@code data/} and {@code kafka.log}
     * @param port 0 takes a free one
     * @throws IllegalStateException with the log's tail when it does not come up within 60 s
     */
    public static KafkaBroker start(Path dir, int port) {
        KafkaBroker broker = new KafkaBroker(dir, port == 0 ? ProcessKit.freePort() : port);
        broker.resume();
        return broker;
    }

    /** The command that runs a broker. */
    static List<String> command(String host, int port, Path data, List<String> jvmFlags) {
        List<String> command = ProcessKit.java(jvmFlags.toArray(String[]::new));
        command.addAll(FastStart.program(Path.of("ops/devstack/kafka"), "io.holdfast.devstack.kafka.KafkaBrokerMain"));
        command.addAll(List.of("--host", host, "--port", Integer.toString(port), "--data", data.toString()));
        return command;
    }

    /** For clients: {@code bootstrap.servers}. */
    public String bootstrapServers() {
        return "127.0.0.1:" + port;
    }

    /** Starts it again after {@link #stop()} or {@link #kill()}, with the same port and data. No effect while it runs. */
    public void resume() {
        if (process != null && process.ids().isAlive()) {
            return;
        }
        List<String> command = new ArrayList<>(command("127.0.0.1", port, dir.resolve("data"), List.of("-Xmx256m")));
        command.addAll(List.of("--parent", Long.toString(ProcessHandle.current().pid())));
        process = ProcessKit.start(command, Map.of(), dir.resolve("kafka.log"));
        process.awaitLine("READY kafka", START_LIMIT);
        ProcessKit.Running started = process;
        started.await(() -> answers("127.0.0.1", port), "an answer of the broker", START_LIMIT);
    }

    /** Shuts it down in order; data and port stay for {@link #resume()}. */
    public void stop() {
        process.close();
    }

    /** Ends it with SIGKILL, as a power cut would. */
    public void kill() {
        ProcessKit.kill(process.ids());
    }

    /** The broker's process. */
    public ProcessIds ids() {
        return process.ids();
    }

    @Override
    public void close() {
        stop();
    }

    /**
     * Whether a Kafka broker answers at an address: sends an ApiVersions request (version 0) and looks for a reply
     * with its correlation id.
     */
    public static boolean answers(String host, int port) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, port), CHECK_MILLIS);
            socket.setSoTimeout(CHECK_MILLIS);
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            int correlation = 0x48464b31;
            out.writeInt(10); // size of: api key, version, correlation id, null client id
            out.writeShort(18);
            out.writeShort(0);
            out.writeInt(correlation);
            out.writeShort(-1);
            out.flush();
            DataInputStream in = new DataInputStream(socket.getInputStream());
            return in.readInt() > 4 && in.readInt() == correlation && in.readShort() == 0;
        } catch (IOException e) {
            return false;
        }
    }
}
