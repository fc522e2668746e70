package io.holdfast.storage.it;

import io.holdfast.devstack.ProcessKit;
import io.holdfast.devstack.ProcessKit.Running;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;

/**
 * Ceph's S3 server as processes of ours: one monitor, one OSD that keeps its objects in memory, one RADOS gateway, all in one folder
 * and on the loopback address. Debian's packages radosgw, ceph-mon and ceph-osd. The processes end with this JVM, at the latest.
 */
final class CephServer implements AutoCloseable {
    private static final String ACCESS_KEY = "holdfast";
    private static final String SECRET_KEY = "holdfast-secret";

    private static final List<String> PROGRAMS =
            List.of("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin");
    private static final Duration LIMIT = Duration.ofMinutes(3);

    private final Path dir;
    private final int port = ProcessKit.freePort();
    private final Deque<Running> processes = new ArrayDeque<>();

    private CephServer(Path dir) {
        this.dir = dir;
    }

    /** The first of its programs that this machine lacks, or null. */
    private static String lacks() {
        for (String p : PROGRAMS) {
            if (!Files.isExecutable(Path.of("/usr/bin", p))) {
                return p;
            }
        }
        return null;
    }

    /**
     * Starts it and waits until the gateway answers and the account is there.
     *
     * @throws IllegalStateException with what a program said
     */
    private static CephServer start(Path dir) throws IOException {
        CephServer s = new CephServer(dir);
        try {
            s.up();
            return s;
        } catch (IOException | RuntimeException e) {
            s.close();
            throw e;
        }
    }

    /** The same for a class of tests, which is skipped where Ceph is not installed. */
    static BucketTest.Server forTests(Path dir) throws IOException {
        String lacks = lacks();
        if (lacks != null) {
            String why = "NOT TESTED: the repository on Ceph, because " + lacks
                    + " is not installed (Debian's packages radosgw, ceph-mon, ceph-osd)";
            System.err.println(why);
            Assumptions.abort(why);
        }
        CephServer s = start(dir);
        return new BucketTest.Server(s.endpoint(), ACCESS_KEY, SECRET_KEY, s::close);
    }

    private String endpoint() {
        return "http://127.0.0.1:" + port;
    }

    private void up() throws IOException {
        for (String d : List.of("mon", "osd", "rgw", "run")) {
            Files.createDirectories(dir.resolve(d));
        }
        String fsid = UUID.randomUUID().toString();
        String osd = UUID.randomUUID().toString();
        String mon = "[v2:127.0.0.1:" + ProcessKit.freePort() + ",v1:127.0.0.1:" + ProcessKit.freePort() + "]";
        Files.writeString(dir.resolve("ceph.conf"), """
                [global]
                fsid = %1$s
                mon host = %2$s
                public addr = 127.0.0.1
                cluster addr = 127.0.0.1
                ms bind port min = 26800
                ms bind port max = 27800
                keyring = %3$s/keyring
                mon data = %3$s/mon
                osd data = %3$s/osd
                rgw data = %3$s/rgw
                run dir = %3$s/run
                log file = %3$s/$name.log
                admin socket =
                pid file =
                osd objectstore = memstore
                memstore device bytes = 4294967296
                osd pool default size = 1
                osd pool default min size = 1
                osd pool default pg num = 4
                osd pool default pgp num = 4
                osd pool default pg autoscale mode = off
                osd crush chooseleaf type = 0
                mon allow pool size one = true
                mon data avail warn = 1
                mon data avail crit = 1
                paxos propose interval = 0.05
                paxos min wait = 0.01
                rgw frontends = beast endpoint=127.0.0.1:%4$d
                """.formatted(fsid, mon, dir, port));
        String ring = dir.resolve("keyring").toString();
        String map = dir.resolve("monmap").toString();
        run("ceph-authtool", "--create-keyring", ring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *");
        run(
                "ceph-authtool",
                ring,
                "--gen-key",
                "-n",
                "client.admin",
                "--cap",
                "mon",
                "allow *",
                "--cap",
                "osd",
                "allow *");
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", mon, map);
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", map, "--keyring", ring);
        start("ceph-mon", "-i", "a", "-f");
        // waits for the monitor
        run("ceph", "--connect-timeout", "60", "osd", "new", osd);
        String key = run("ceph", "auth", "get-or-create", "osd.0", "mon", "allow profile osd", "osd", "allow *");
        Files.writeString(Path.of(ring), Files.readString(Path.of(ring)) + key);
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd);
        Running store = start("ceph-osd", "-i", "0", "-f");
        store.await(() -> run("ceph", "osd", "stat").contains(" 1 up"), "the OSD being up", LIMIT);
        Running gateway = start("radosgw", "-n", "client.admin", "-f");
        gateway.await(this::answers, "an answer of the gateway", LIMIT);
        run(
                "radosgw-admin",
                "user",
                "create",
                "--uid=holdfast",
                "--display-name=holdfast",
                "--access-key=" + ACCESS_KEY,
                "--secret-key=" + SECRET_KEY);
    }

    private boolean answers() {
        try {
            HttpURLConnection c =
                    (HttpURLConnection) URI.create(endpoint() + "/").toURL().openConnection();
            c.setConnectTimeout(2000);
            c.setReadTimeout(10_000);
            return c.getResponseCode() == 200;
        } catch (IOException e) {
            return false;
        }
    }

    private Map<String, String> environment() {
        return Map.of("CEPH_CONF", dir.resolve("ceph.conf").toString());
    }

    private Running start(String... command) {
        Running r = ProcessKit.start(List.of(command), environment(), dir.resolve(command[0] + ".out"));
        processes.push(r);
        // ends it if this JVM is killed
        ProcessKit.start(
                List.of(
                        "sh",
                        "-c",
                        "while kill -0 $0 2>/dev/null && kill -0 $1 2>/dev/null; do sleep 1; done; kill -9 $1 2>/dev/null",
                        Long.toString(ProcessHandle.current().pid()),
                        Long.toString(r.ids().pid())),
                Map.of(),
                dir.resolve("watch.out"));
        return r;
    }

    /** Runs a program to its end and returns its output. */
    private String run(String... command) {
        try {
            Path out = Files.createTempFile(dir, "said", "");
            Path err = Files.createTempFile(dir, "said", "");
            ProcessBuilder b =
                    new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
            b.environment().putAll(environment());
            Process p = b.start();
            boolean ended = p.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS);
            p.destroyForcibly();
            String text = Files.readString(out, StandardCharsets.UTF_8);
            if (!ended || p.waitFor() != 0) {
                throw new IllegalStateException(
                        String.join(" ", command) + " failed: " + text + Files.readString(err, StandardCharsets.UTF_8));
            }
            return text;
        } catch (IOException e) {
            throw new UncheckedIOException(String.join(" ", command), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() {
        // the gateway first: it waits for the OSD otherwise
        processes.forEach(r -> ProcessKit.kill(r.ids()));
    }
}
