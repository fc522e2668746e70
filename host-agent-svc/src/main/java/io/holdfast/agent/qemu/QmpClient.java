package io.holdfast.agent.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.agent.nat.Errno;
import io.holdfast.agent.nat.Native;
import io.holdfast.agent.nat.NativeException;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jboss.logging.Logger;

/**
 * A client of QEMU's machine protocol (QEMU {@code docs/interop/qmp-spec.rst}) over a UNIX socket. Commands are pipelined: QEMU answers
 * them in order.
 *
 * <p>Threads: any thread may send; lines are written whole under a lock. One reader thread per client completes answers, calls the event
 * listener and, once, the end listener; these must not block and must not wait for answers.
 */
final class QmpClient implements AutoCloseable {
    private static final Logger LOG = Logger.getLogger(QmpClient.class);
    private static final int MAX_LINE = 32 << 20;
    private static final int WRITE_MILLIS = 5000;
    private static final int BUFFER = 1 << 16;

    private final String name;
    private final int socket;
    private final int wake;
    private final Consumer<JsonNode> events;
    private final Runnable ended;
    private final Thread reader;
    private final CompletableFuture<JsonNode> greeting = new CompletableFuture<>();

    // Guarded by this.
    private final Queue<Pending> pending = new ArrayDeque<>();
    private boolean closed;

    private final AtomicLong nextId = new AtomicLong();

    private record Pending(String id, String command, CompletableFuture<Answer> answer) {}

    /** A command that is ready to be sent. */
    record Call(Pending pending, byte[] bytes) {}

    /**
     * An answer.
     *
     * @param value what the command returned
     * @param micros when it was read, microseconds since the epoch
     */
    record Answer(JsonNode value, long micros) {}

    private QmpClient(String name, int socket, int wake, Consumer<JsonNode> events, Runnable ended) {
        this.name = name;
        this.socket = socket;
        this.wake = wake;
        this.events = events;
        this.ended = ended;
        this.reader = Thread.ofPlatform().daemon().name("qmp-" + name).unstarted(this::read);
    }

    /**
     * Connects and negotiates.
     *
     * @param name for logs and thread names
     * @param events called with each event
     * @param ended called once when the connection has ended, also after {@link #close}
     * @throws QmpException if QEMU does not greet in time
     */
    static QmpClient connect(String name, Path path, Duration limit, Consumer<JsonNode> events, Runnable ended)
            throws IOException {
        int socket = Native.connect(path, Math.toIntExact(limit.toMillis()));
        int wake;
        try {
            wake = Native.eventfd();
        } catch (IOException e) {
            Native.close(socket);
            throw e;
        }
        var client = new QmpClient(name, socket, wake, events, ended);
        client.reader.start();
        try {
            await(client.greeting, limit, "the greeting");
            client.execute("qmp_capabilities", null, limit);
            return client;
        } catch (IOException e) {
            client.close();
            throw e;
        }
    }

    /** An empty arguments object. */
    static ObjectNode arguments() {
        return EventCodec.json().createObjectNode();
    }

    /** Sends a command and waits for its answer. */
    JsonNode execute(String command, ObjectNode arguments, Duration limit) throws QmpException {
        return await(send(command, arguments, -1), limit, command).value();
    }

    /** Passes a descriptor under a name; QEMU gets a copy, ours stays ours. */
    void passFd(int fd, String fdName, Duration limit) throws QmpException {
        await(send("getfd", arguments().put("fdname", fdName), fd), limit, "getfd");
    }

    /** Sends a command, with a descriptor unless it is -1; does not wait. Failures come with the future. */
    CompletableFuture<Answer> send(String command, ObjectNode arguments, int fd) {
        return send(call(command, arguments), fd);
    }

    /** A command made ready: sending it makes no objects and writes no JSON. Used once. */
    Call call(String command, ObjectNode arguments) {
        ObjectNode line = EventCodec.json().createObjectNode();
        line.put("execute", command);
        if (arguments != null) {
            line.set("arguments", arguments);
        }
        String id = Long.toString(nextId.getAndIncrement());
        line.put("id", id);
        return new Call(
                new Pending(id, command, new CompletableFuture<>()), (line + "\n").getBytes(StandardCharsets.UTF_8));
    }

    /** Sends a command that was made ready; does not wait. Failures come with the future. */
    CompletableFuture<Answer> send(Call call) {
        return send(call, -1);
    }

    private CompletableFuture<Answer> send(Call call, int fd) {
        Pending p = call.pending();
        CompletableFuture<Answer> answer = p.answer();
        synchronized (this) {
            if (closed) {
                answer.completeExceptionally(gone(p.command()));
                return answer;
            }
            pending.add(p);
            try {
                if (fd >= 0) {
                    Native.sendWithFd(socket, call.bytes(), fd, WRITE_MILLIS);
                } else {
                    Native.write(socket, call.bytes(), WRITE_MILLIS);
                }
            } catch (IOException e) {
                boolean ignored = pending.remove(p);
                answer.completeExceptionally(new QmpException(kind(e), p.command() + ": " + e.getMessage()));
            }
        }
        return answer;
    }

    private static QmpException.Kind kind(IOException unsent) {
        boolean ended =
                unsent instanceof NativeException n && (n.errno() == Errno.EPIPE || n.errno() == Errno.ECONNRESET);
        return ended ? QmpException.Kind.CLOSED : QmpException.Kind.UNSENT;
    }

    /** Waits for an answer. */
    static <T> T await(CompletableFuture<T> answer, Duration limit, String what) throws QmpException {
        try {
            return answer.get(limit.toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            throw new QmpException(
                    QmpException.Kind.TIMEOUT, "QEMU did not answer " + what + " within " + limit.toMillis() + " ms");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new QmpException(QmpException.Kind.TIMEOUT, what + " was interrupted");
        } catch (ExecutionException e) {
            if (e.getCause() instanceof QmpException q) {
                throw q;
            }
            throw new IllegalStateException(e.getCause());
        }
    }

    private QmpException gone(String what) {
        return new QmpException(QmpException.Kind.CLOSED, what + ": the connection to QEMU " + name + " has ended");
    }

    private void read() {
        String why = "end of stream";
        Native.hurry();
        try {
            var buffer = ByteBuffer.allocateDirect(BUFFER);
            long address = NativeBuffers.address(buffer);
            byte[] line = new byte[BUFFER];
            int length = 0;
            while (NativeBuffers.awaitReadable(socket, wake)) {
                int n = (int) Native.read(socket, address, BUFFER, -1);
                if (n == 0) {
                    break;
                }
                for (int i = 0; i < n; i++) {
                    byte b = buffer.get(i);
                    if (b == '\n') {
                        line(line, length);
                        length = 0;
                        continue;
                    }
                    if (length == line.length) {
                        if (length >= MAX_LINE) {
                            throw new IOException("a line is longer than " + MAX_LINE + " bytes");
                        }
                        line = java.util.Arrays.copyOf(line, length * 2);
                    }
                    line[length++] = b;
                }
            }
        } catch (IOException | RuntimeException e) {
            why = String.valueOf(e.getMessage());
        }
        LOG.debugf("event=qmp-ended vm=%s reason=%s", name, why);
        Queue<Pending> left;
        synchronized (this) {
            closed = true;
            left = new ArrayDeque<>(pending);
            pending.clear();
            Native.close(socket);
            Native.close(wake);
        }
        greeting.completeExceptionally(gone("greeting"));
        left.forEach(p -> p.answer().completeExceptionally(gone(p.command())));
        ended.run();
    }

    private void line(byte[] bytes, int length) throws IOException {
        long micros = Native.micros();
        JsonNode node = EventCodec.json().readTree(bytes, 0, length);
        if (node.has("event")) {
            try {
                events.accept(node);
            } catch (RuntimeException e) {
                LOG.errorf(e, "event=qmp-listener-failed vm=%s", name);
            }
        } else if (node.has("QMP")) {
            greeting.complete(node);
        } else {
            Pending p;
            String id = node.path("id").asText();
            synchronized (this) {
                p = pending.peek();
                if (p == null || !p.id().equals(id)) {
                    throw new IOException("an answer to nothing: " + node);
                }
                pending.remove();
            }
            if (node.has("error")) {
                p.answer()
                        .completeExceptionally(new QmpException(
                                QmpException.Kind.REFUSED,
                                p.command() + ": "
                                        + node.path("error").path("desc").asText()));
            } else {
                p.answer().complete(new Answer(node.path("return"), micros));
            }
        }
    }

    /** Lets go of the connection. QEMU runs on. Idempotent; does not wait for the reader. */
    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            try {
                Native.signal(wake);
            } catch (IOException e) {
                LOG.errorf(e, "event=qmp-close-failed vm=%s", name);
            }
        }
    }
}
