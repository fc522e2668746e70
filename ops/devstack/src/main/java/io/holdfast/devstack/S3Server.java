package io.holdfast.devstack;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A real S3-compatible server (S3Proxy over a folder) as a child process, with one bucket made. It ends with the
 * process that started it, at the latest. Not thread-safe.
 *
 * <p>It fails on a key that is also a prefix (at a slash) of another key; it has no versioning, object lock or SSE.
 */
public final class S3Server implements AutoCloseable {
    /** The only account's name. */
    public static final String ACCESS_KEY = "holdfast";

    /** The only account's secret: the server listens on the loopback or the dev stack's own bridge. */
    public static final String SECRET_KEY = "holdfast-secret";

    /** The bucket that exists from the start. */
    public static final String BUCKET = "holdfast";

    private static final Duration START_LIMIT = Duration.ofMinutes(3);
    private static final int CHECK_MILLIS = 2000;

    private final Path dir;
    private final int port;
    private ProcessKit.Running process;

    private S3Server(Path dir, int port) {
        this.dir = dir;
        this.port = port;
    }

    /**
     * Starts a server on the loopback address and waits until it takes requests.
     *
     * @param dir gets {@code data/} and {@code s3.log}
     * @param port 0 takes a free one
     * @throws IllegalStateException with the log's tail when it does not come up within 60 s
     */
    public static S3Server start(Path dir, int port) {
        S3Server server = new S3Server(dir, port == 0 ? ProcessKit.freePort() : port);
        server.resume();
        return server;
    }

    /** The command that runs a server. */
    static List<String> command(String host, int port, Path data, List<String> jvmFlags) {
        List<String> command = ProcessKit.java(jvmFlags.toArray(String[]::new));
        command.addAll(FastStart.program(Path.of("ops/devstack/s3"), "io.holdfast.devstack.s3.S3ServerMain"));
        command.addAll(List.of(
                "--host",
                host,
                "--port",
                Integer.toString(port),
                "--data",
                data.toString(),
                "--access-key",
                ACCESS_KEY,
                "--secret-key",
                SECRET_KEY,
                "--bucket",
                BUCKET));
        return command;
    }

    /** The endpoint's URL. */
    public String endpoint() {
        return "http://127.0.0.1:" + port;
    }

    /** The account's name. */
    public String accessKey() {
        return ACCESS_KEY;
    }

    /** The account's secret. */
    public String secretKey() {
        return SECRET_KEY;
    }

    /** The bucket made at the start. */
    public String bucket() {
        return BUCKET;
    }

    /** Starts it again after {@link #stop()} or {@link #kill()}, with the same port and data. No effect while it runs. */
    public void resume() {
        if (process != null && process.ids().isAlive()) {
            return;
        }
        List<String> command = new ArrayList<>(command("127.0.0.1", port, dir.resolve("data"), List.of("-Xmx512m")));
        command.addAll(List.of("--parent", Long.toString(ProcessHandle.current().pid())));
        process = ProcessKit.start(command, Map.of(), dir.resolve("s3.log"));
        process.awaitLine("READY s3", START_LIMIT);
    }

    /** Ends it in order; data and port stay for {@link #resume()}. */
    public void stop() {
        process.close();
    }

    /** Ends it with SIGKILL. */
    public void kill() {
        ProcessKit.kill(process.ids());
    }

    /** The server's process. */
    public ProcessIds ids() {
        return process.ids();
    }

    @Override
    public void close() {
        stop();
    }

    /** Whether something listens at an address. */
    static boolean listens(String host, int port) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, port), CHECK_MILLIS);
            return true;
        } catch (IOException e) {
            return false;
        }
    }
}
