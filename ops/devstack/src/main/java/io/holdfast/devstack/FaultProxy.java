package io.holdfast.devstack;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * Stands between an S3 client and a real S3 server and does what networks and servers do at their worst, by name and
 * only where told: delays, refusals, cut connections, lost answers, silence. Everything else goes through as it is. It
 * speaks as much HTTP/1.1 as S3 clients do. Thread-safe.
 */
public final class FaultProxy implements AutoCloseable {
    private static final int BUFFER = 64 * 1024;
    private static final int MAX_HEAD = 64 * 1024;
    private static final String CONDITION = "if-none-match:";

    /** What is done to a request. */
    public enum Fault {
        /** 503 with the code SlowDown; the server never sees the request. */
        SLOW_DOWN(503, "SlowDown"),
        /** 500 with the code InternalError. */
        INTERNAL_ERROR(500, "InternalError"),
        /** 403 with the code AccessDenied. */
        DENIED(403, "AccessDenied"),
        /** 507, as MinIO answers when its disks are full. */
        FULL(507, "XMinioStorageFull"),
        /** 403 with the code QuotaExceeded, as Ceph answers. */
        QUOTA(403, "QuotaExceeded"),
        /** 404 with the code NoSuchBucket. */
        NO_BUCKET(404, "NoSuchBucket"),
        /** 501 to what has a condition, as servers answer that know no conditional put; all else passes. */
        NO_CONDITIONAL_PUT(501, "NotImplemented"),
        /** The condition of a request is taken away on its way, as if the server ignored it. */
        IGNORE_CONDITION(0, null),
        /** The connection is cut after the request's head and a part of its body went to the server. */
        CUT_REQUEST(0, null),
        /** The server does the request, then the connection is cut in the middle of its answer. */
        CUT_ANSWER(0, null),
        /** The server does the request, its answer is lost. */
        LOSE_ANSWER(0, null),
        /** Nobody ever answers. */
        SILENCE(0, null),
        /** The answer's body comes slowly, 640 KiB/s. */
        SLOW_ANSWER(0, null),
        /** The answer's body has a flipped bit. */
        FLIP_ANSWER(0, null);

        private final int status;
        private final String code;

        Fault(int status, String code) {
            this.status = status;
            this.code = code;
        }
    }

    /**
     * A request as rules see it.
     *
     * @param conditional has {@code If-None-Match}
     */
    public record Seen(String method, String path, long bodyBytes, boolean conditional) {}

    private static final class Rule {
        private final Fault fault;
        private final Predicate<Seen> which;
        private final AtomicInteger left;
        private final AtomicInteger done = new AtomicInteger();

        Rule(Fault fault, Predicate<Seen> which, int times) {
            this.fault = fault;
            this.which = which;
            this.left = new AtomicInteger(times);
        }
    }

    private final InetSocketAddress target;
    private final ServerSocket listener;
    private final List<Rule> rules = new CopyOnWriteArrayList<>();
    private final List<Seen> log = new CopyOnWriteArrayList<>();
    private final Set<Closeable> open = ConcurrentHashMap.newKeySet();
    private final AtomicLong requests = new AtomicLong();
    private volatile Duration latency = Duration.ZERO;
    private volatile boolean logging = true;
    private volatile boolean closed;

    private FaultProxy(InetSocketAddress target, ServerSocket listener) {
        this.target = target;
        this.listener = listener;
    }

    /** A proxy on a free port of the loopback address. */
    public static FaultProxy before(String endpoint) {
        try {
            URI uri = URI.create(endpoint);
            ServerSocket s = new ServerSocket(0, 128, InetAddress.getLoopbackAddress());
            FaultProxy p = new FaultProxy(new InetSocketAddress(uri.getHost(), uri.getPort()), s);
            Thread unused = Thread.ofVirtual().name("fault-proxy").start(p::accept);
            return p;
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The proxy's URL. */
    public String endpoint() {
        return "http://127.0.0.1:" + listener.getLocalPort();
    }

    /** From now on each connection and each answer comes that much later. */
    public void latency(Duration added) {
        latency = added;
    }

    /** Requests are not kept for {@link #seen()} any more: for long runs. */
    public void forgetful() {
        logging = false;
    }

    /**
     * Does a fault to the next {@code times} requests of that kind, 0 times: to all of them. Rules are asked in order.
     *
     * @return tells how often it was done
     */
    public AtomicInteger inject(Fault fault, int times, Predicate<Seen> which) {
        Rule r = new Rule(fault, which, times == 0 ? Integer.MAX_VALUE : times);
        rules.add(r);
        return r.done;
    }

    /** Forgets all rules. */
    public void heal() {
        rules.clear();
    }

    /** All requests since {@link #forget()}, those that a fault was done to as well. */
    public List<Seen> seen() {
        return List.copyOf(log);
    }

    /** How many requests there were in all. */
    public long requests() {
        return requests.get();
    }

    /** Forgets the requests seen. */
    public void forget() {
        log.clear();
    }

    private void accept() {
        while (!closed) {
            try {
                Socket client = listener.accept();
                Thread unused = Thread.ofVirtual().start(() -> serve(client));
            } catch (IOException e) {
                if (closed) {
                    return;
                }
            }
        }
    }

    private void pause() {
        try {
            Thread.sleep(latency);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void serve(Socket client) {
        open.add(client);
        Socket server = new Socket();
        open.add(server);
        try (client;
                server) {
            client.setTcpNoDelay(true);
            server.setTcpNoDelay(true);
            pause();
            server.connect(target, 10_000);
            InputStream fromClient = new BufferedInputStream(client.getInputStream(), BUFFER);
            InputStream fromServer = new BufferedInputStream(server.getInputStream(), BUFFER);
            while (one(fromClient, client.getOutputStream(), fromServer, server.getOutputStream())) {
                // the next request of the connection
            }
        } catch (IOException e) {
            // either side went: the other one sees its connection close
        } finally {
            open.remove(client);
            open.remove(server);
        }
    }

    private Rule rule(Seen s) {
        for (Rule r : rules) {
            boolean ofConditions = r.fault == Fault.NO_CONDITIONAL_PUT || r.fault == Fault.IGNORE_CONDITION;
            if ((s.conditional() || !ofConditions)
                    && r.which.test(s)
                    && r.left.getAndUpdate(n -> n > 0 ? n - 1 : 0) > 0) {
                r.done.incrementAndGet();
                return r;
            }
        }
        return null;
    }

    /** One request and its answer; false when the connection has ended. */
    private boolean one(InputStream fromClient, OutputStream toClient, InputStream fromServer, OutputStream toServer)
            throws IOException {
        Head request = Head.read(fromClient);
        if (request == null) {
            return false;
        }
        String[] words = request.first().split(" ", 3);
        Seen seen = new Seen(words[0], words[1], Math.max(0, request.length()), request.conditional());
        requests.incrementAndGet();
        if (logging) {
            log.add(seen);
        }
        Rule rule = rule(seen);
        Fault fault = rule == null ? null : rule.fault;
        if (fault == Fault.SILENCE) {
            request.body(fromClient, OutputStream.nullOutputStream(), Long.MAX_VALUE);
            waitForEnd(fromClient);
            return false;
        }
        if (fault != null && fault.status > 0) {
            if (request.expectsContinue()) {
                toClient.write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
            }
            request.body(fromClient, OutputStream.nullOutputStream(), Long.MAX_VALUE);
            pause();
            toClient.write(refusal(fault, seen.method().equals("HEAD")));
            return true;
        }
        toServer.write(fault == Fault.IGNORE_CONDITION ? request.withoutCondition() : request.raw());
        toServer.flush();
        if (request.expectsContinue()) {
            Head go = Head.read(fromServer);
            if (go == null) {
                return false;
            }
            toClient.write(go.raw());
            if (!go.first().contains(" 100")) {
                go.body(fromServer, toClient, Long.MAX_VALUE);
                return true;
            }
        }
        if (fault == Fault.CUT_REQUEST) {
            request.body(fromClient, toServer, Math.max(0, request.length()) / 2);
            return false;
        }
        request.body(fromClient, toServer, Long.MAX_VALUE);
        Head answer = Head.read(fromServer);
        if (answer == null || fault == Fault.LOSE_ANSWER) {
            return false;
        }
        pause();
        toClient.write(answer.raw());
        boolean none = seen.method().equals("HEAD")
                || answer.first().contains(" 204")
                || answer.first().contains(" 304");
        if (fault == Fault.CUT_ANSWER) {
            if (!none) {
                answer.body(fromServer, toClient, Math.max(0, answer.length()) / 2);
            }
            return false;
        }
        if (!none) {
            OutputStream out = fault == Fault.FLIP_ANSWER
                    ? flipping(toClient)
                    : fault == Fault.SLOW_ANSWER ? slow(toClient) : toClient;
            answer.body(fromServer, out, Long.MAX_VALUE);
        }
        toClient.flush();
        return !answer.closes() && !request.closes();
    }

    private static void waitForEnd(InputStream in) throws IOException {
        while (in.read() >= 0) {
            // more of what is never answered
        }
    }

    /** Passes on what is written, {@link #BUFFER} bytes at most, and then waits. */
    private static OutputStream slow(OutputStream out) {
        return new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                out.write(b);
            }

            @Override
            public void write(byte[] data, int offset, int length) throws IOException {
                out.write(data, offset, length);
                out.flush();
                try {
                    Thread.sleep(100L * length / BUFFER);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }
        };
    }

    private static OutputStream flipping(OutputStream out) {
        return new OutputStream() {
            private boolean flipped;

            @Override
            public void write(int b) throws IOException {
                out.write(b);
            }

            @Override
            public void write(byte[] data, int offset, int length) throws IOException {
                if (!flipped && length > 0) {
                    data[offset + length / 2] ^= 0x10;
                    flipped = true;
                }
                out.write(data, offset, length);
            }
        };
    }

    private static byte[] refusal(Fault fault, boolean head) {
        String body = head
                ? ""
                : "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>" + fault.code
                        + "</Code><Message>injected</Message><RequestId>x</RequestId></Error>";
        return ("HTTP/1.1 " + fault.status + " Injected\r\nContent-Type: application/xml\r\nContent-Length: "
                        + body.length() + "\r\n\r\n" + body)
                .getBytes(StandardCharsets.US_ASCII);
    }

    /** The head of a message: as it came, with what is needed to pass its body on. */
    private record Head(
            byte[] raw,
            String first,
            long length,
            boolean chunked,
            boolean expectsContinue,
            boolean closes,
            boolean conditional) {
        static Head read(InputStream in) throws IOException {
            ByteArrayOutputStream raw = new ByteArrayOutputStream(512);
            int ends = 0;
            while (ends < 4) {
                int b = in.read();
                if (b < 0) {
                    return null;
                }
                raw.write(b);
                ends = b == (ends % 2 == 0 ? '\r' : '\n') ? ends + 1 : b == '\r' ? 1 : 0;
                if (raw.size() > MAX_HEAD) {
                    throw new IOException("a head without an end");
                }
            }
            String[] lines = raw.toString(StandardCharsets.ISO_8859_1).split("\r\n", -1);
            long length = 0;
            boolean chunked = false;
            boolean expects = false;
            boolean closes = false;
            boolean conditional = false;
            for (int i = 1; i < lines.length; i++) {
                String line = lines[i].toLowerCase(Locale.ROOT);
                String value = line.substring(line.indexOf(':') + 1).strip();
                if (line.startsWith("content-length:")) {
                    length = Long.parseLong(value);
                } else if (line.startsWith("transfer-encoding:")) {
                    chunked = value.contains("chunked");
                } else if (line.startsWith("expect:")) {
                    expects = value.contains("100-continue");
                } else if (line.startsWith("connection:")) {
                    closes = value.contains("close");
                } else if (line.startsWith(CONDITION)) {
                    conditional = true;
                }
            }
            return new Head(raw.toByteArray(), lines[0], length, chunked, expects, closes, conditional);
        }

        byte[] withoutCondition() {
            return Arrays.stream(new String(raw, StandardCharsets.ISO_8859_1).split("\r\n", -1))
                    .filter(l -> !l.toLowerCase(Locale.ROOT).startsWith(CONDITION))
                    .collect(Collectors.joining("\r\n"))
                    .getBytes(StandardCharsets.ISO_8859_1);
        }

        /** Passes the body on, at most so many bytes of it. */
        void body(InputStream in, OutputStream out, long most) throws IOException {
            if (!chunked) {
                copy(in, out, Math.min(length, most));
                out.flush();
                return;
            }
            long left = most;
            while (left > 0) {
                String line = line(in);
                int n = Integer.parseInt(line.split(";", 2)[0].strip(), 16);
                out.write((line + "\r\n").getBytes(StandardCharsets.US_ASCII));
                copy(in, out, n);
                String end = line(in);
                out.write((end + "\r\n").getBytes(StandardCharsets.US_ASCII));
                left -= n;
                if (n == 0) {
                    break;
                }
            }
            out.flush();
        }

        private static String line(InputStream in) throws IOException {
            StringBuilder s = new StringBuilder();
            for (int b = in.read(); b != '\n'; b = in.read()) {
                if (b < 0 || s.length() > MAX_HEAD) {
                    throw new EOFException();
                }
                if (b != '\r') {
                    s.append((char) b);
                }
            }
            return s.toString();
        }

        private static void copy(InputStream in, OutputStream out, long length) throws IOException {
            byte[] buffer = new byte[(int) Math.max(1, Math.min(BUFFER, length))];
            for (long left = length; left > 0; ) {
                int n = in.read(buffer, 0, (int) Math.min(buffer.length, left));
                if (n < 0) {
                    throw new EOFException();
                }
                out.write(buffer, 0, n);
                left -= n;
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        try {
            listener.close();
            for (Closeable c : open) {
                c.close();
            }
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
