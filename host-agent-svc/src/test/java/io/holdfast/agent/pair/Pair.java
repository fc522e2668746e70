package io.holdfast.agent.pair;

import io.cloudevents.CloudEvent;
import io.holdfast.devstack.FastStart;
import io.holdfast.devstack.ProcessKit;
import io.holdfast.devstack.RepoRoot;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Topics;
import java.io.IOException;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Two hosts (network namespaces) with an agent process each, a real broker, and this test as the coordinator. */
final class Pair implements AutoCloseable {
    static final List<String> HOSTS = List.of("h1", "h2");
    private static final String NET = "10.213.7.";
    private static final String BRIDGE = "hftabr";
    private static final String NETNS = "hft-a-";
    private final Path folder;
    private final Path guest;
    private final int port = ProcessKit.freePort();
    private final Map<String, ProcessKit.Running> agents = new HashMap<>();
    private FileChannel turn;
    private ProcessKit.Running broker;
    private KafkaProducer<String, byte[]> producer;
    private KafkaConsumer<String, byte[]> consumer;
    private final List<Report> reports = new ArrayList<>();

    /** Settings of every agent of this pair, as -Dname=value. */
    private final List<String> settings;

    Pair(Path folder, Path guest, String... settings) {
        this.folder = folder;
        this.guest = guest;
        this.settings = List.of(settings);
    }

    /** Runs a command to its end; its output. Fails with the output when its status is not 0. */
    static String sh(String... command) throws IOException, InterruptedException {
        Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
        String out = new String(p.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        if (!p.waitFor(300, TimeUnit.SECONDS) || p.exitValue() != 0) {
            throw new IOException(String.join(" ", command) + ": " + out);
        }
        return out;
    }

    private static void quietly(String... command) {
        try {
            sh(command);
        } catch (IOException e) {
            // It was not there.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void network(boolean make) throws IOException, InterruptedException {
        // Namespaces of hosts and of their instances, with what a killed run left in them.
        for (String line : sh("ip", "netns").split("\n", -1)) {
            String ns = line.split(" ", -1)[0];
            if (ns.startsWith(NETNS)) {
                for (String pid : sh("ip", "netns", "pids", ns).split("\\s+", -1)) {
                    if (!pid.isEmpty()) {
                        ProcessHandle.of(Long.parseLong(pid)).ifPresent(ProcessHandle::destroyForcibly);
                    }
                }
                quietly("ip", "netns", "del", ns);
            }
        }
        for (int i = 1; i <= HOSTS.size(); i++) {
            quietly("ip", "link", "del", BRIDGE + i);
        }
        quietly("ip", "link", "del", BRIDGE);
        if (!make) {
            return;
        }
        sh("ip", "link", "add", BRIDGE, "type", "bridge");
        sh("ip", "addr", "add", NET + "254/24", "dev", BRIDGE);
        sh("ip", "link", "set", BRIDGE, "mtu", "9000", "up");
        for (int i = 1; i <= HOSTS.size(); i++) {
            String ns = NETNS + i;
            sh("ip", "netns", "add", ns);
            sh("ip", "link", "add", BRIDGE + i, "type", "veth", "peer", "name", "eth0", "netns", ns);
            sh("ip", "link", "set", BRIDGE + i, "mtu", "9000", "master", BRIDGE, "up");
            sh("ip", "-n", ns, "addr", "add", NET + i + "/24", "dev", "eth0");
            sh("ip", "-n", ns, "link", "set", "eth0", "mtu", "9000", "up");
            sh("ip", "-n", ns, "link", "set", "lo", "up");
        }
    }

    void start() throws Exception {
        // Names and addresses are fixed: another checkout's run on this machine waits for its turn.
        turn = FileChannel.open(Path.of("/run/lock/hft-a-pair"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        FileLock held = turn.lock();
        assert held.isValid();
        network(true);
        Path module = RepoRoot.find().resolve("ops/devstack/kafka");
        List<String> command = ProcessKit.java("-Xmx256m");
        command.addAll(List.of(
                "-cp",
                module.resolve("target/classes") + ":" + module.resolve("target/lib") + "/*",
                "io.holdfast.devstack.kafka.KafkaBrokerMain",
                "--host",
                NET + "254",
                "--port",
                Integer.toString(port),
                "--data",
                folder.resolve("broker").toString(),
                "--parent",
                Long.toString(ProcessHandle.current().pid())));
        broker = ProcessKit.start(command, Map.of(), folder.resolve("broker.log"));
        broker.awaitLine("READY kafka", Duration.ofMinutes(3));
        Map<String, Object> client = Map.of("bootstrap.servers", NET + "254:" + port);
        try (Admin admin = Admin.create(client)) {
            admin.createTopics(Stream.of(Topics.COMMANDS, Topics.REPORTS, Topics.HOSTS)
                            .map(t -> new NewTopic(t, 1, (short) 1))
                            .toList())
                    .all()
                    .get();
        }
        producer = new KafkaProducer<>(client, new StringSerializer(), new ByteArraySerializer());
        consumer = new KafkaConsumer<>(client, new StringDeserializer(), new ByteArrayDeserializer());
        TopicPartition partition = new TopicPartition(Topics.REPORTS, 0);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        startAgent("h1");
        // As README says how to run it: an orderly end leaves an archive of the classes, where there is none that fits.
        agents.get("h1").stop(Duration.ofMinutes(2));
        for (String host : HOSTS) {
            launchAgent(host);
        }
        HOSTS.forEach(this::awaitReady);
    }

    private static Path archive() {
        return RepoRoot.find().resolve("host-agent-svc/target/agent.jsa");
    }

    static String underlay(String host) {
        return NET + host.substring(1);
    }

    Path state(String host) {
        return folder.resolve(host).resolve("state");
    }

    Path images(String host) {
        return folder.resolve(host).resolve("images");
    }

    Path console(String host, String instance, String vm) {
        return state(host)
                .resolve("instances")
                .resolve(instance)
                .resolve("vms")
                .resolve(vm)
                .resolve("console.log");
    }

    /** Starts a host's agent and waits until it has taken over. */
    void startAgent(String host, String... more) throws IOException {
        launchAgent(host, more);
        awaitReady(host);
    }

    /** Starts a host's agent and does not wait. */
    void launchAgent(String host, String... more) throws IOException {
        List<String> command = new ArrayList<>(List.of("nsenter", "--net=/run/netns/" + NETNS + host.substring(1)));
        command.addAll(ProcessKit.java("-Xmx384m"));
        command.addAll(List.of("-XX:+AutoCreateSharedArchive", "-XX:SharedArchiveFile=" + archive(), "-Xlog:cds*=off"));
        command.addAll(settings);
        command.addAll(List.of(more));
        command.addAll(List.of(
                "-Dkafka.bootstrap.servers=" + NET + "254:" + port,
                "-Dholdfast.agent.host=" + host,
                "-Dholdfast.agent.underlay=" + underlay(host),
                "-Dholdfast.agent.state-dir=" + state(host),
                "-Dholdfast.agent.image-dir=" + images(host),
                "-Dholdfast.agent.boot-roots=" + guest,
                "-Dholdfast.agent.netns-prefix=hft-a-i-",
                "-Dquarkus.http.port=0"));
        command.addAll(FastStart.service(Path.of("host-agent-svc")));
        agents.put(host, ProcessKit.start(command, Map.of(), log(host)));
    }

    Path log(String host) {
        return folder.resolve(host + ".log");
    }

    /** What a host's agent has logged since its last start. */
    String said(String host) {
        try {
            byte[] all = Files.readAllBytes(log(host));
            int from = (int) agents.get(host).logOffset();
            return new String(all, from, all.length - from, java.nio.charset.StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** Waits for a text in what a host's agent has logged since its last start. */
    void awaitSaid(String host, String text) {
        agents.get(host).await(() -> said(host).contains(text), text, Duration.ofMinutes(2));
    }

    void awaitReady(String host) {
        awaitSaid(host, "event=agent-ready");
    }

    long agentPid(String host) {
        return agents.get(host).ids().pid();
    }

    boolean agentRuns(String host) {
        return agents.get(host).ids().isAlive();
    }

    void killAgent(String host) {
        ProcessKit.kill(agents.get(host).ids());
    }

    void stopAgent(String host) {
        agents.get(host).stop(Duration.ofSeconds(20));
    }

    /** Stops the broker (SIGSTOP), or lets it run on: it answers nothing meanwhile. */
    void brokerAnswers(boolean answers) {
        broker.ids().signal(answers ? "CONT" : "STOP");
    }

    void send(Command command) throws Exception {
        send(command, Instant.now());
    }

    /** Sends a command that says that it was sent at that time. */
    void send(Command command, Instant sentAt) throws Exception {
        producer.send(EventCodec.record(
                        Topics.COMMANDS,
                        command.header().host(),
                        EventCodec.encode(
                                command.header().id(),
                                URI.create("/holdfast/coordinator"),
                                command.header().operation(),
                                command,
                                sentAt,
                                Map.of())))
                .get();
    }

    static Command.Header header(String operation, String instance, String host, String phase) {
        return header(operation, instance, host, phase, 1, 1);
    }

    static Command.Header header(
            String operation, String instance, String host, String phase, int attempt, long epoch) {
        return new Command.Header(operation, instance, host, phase, attempt, epoch);
    }

    interface Make {
        Command of(Command.Header header);
    }

    /** Sends a command to both hosts and waits for the answer of both. */
    <R extends Report> List<R> both(String operation, String phase, String instance, Make make, Class<R> answer)
            throws Exception {
        for (String host : HOSTS) {
            send(make.of(header(operation, instance, host, phase)));
        }
        List<R> answers = new ArrayList<>();
        for (String host : HOSTS) {
            answers.add(await(answer, operation, host, phase));
        }
        return answers;
    }

    /** That long from now, as commands say it. */
    static long inMicros(int millis) {
        return (System.currentTimeMillis() + millis) * 1000;
    }

    /** The end report of a phase of an operation from a host; fails when it is another one than wanted. */
    <R extends Report> R await(Class<R> wanted, String operation, String host, String phase)
            throws InvalidEventException {
        Report r = awaitEnd(operation, host, phase);
        if (wanted.isInstance(r)) {
            return wanted.cast(r);
        }
        throw new AssertionError("wanted " + wanted.getSimpleName() + ", came " + r);
    }

    /** The first end report of a phase, or failure, of an operation from a host. */
    Report awaitEnd(String operation, String host, String phase) throws InvalidEventException {
        Instant limit = Instant.now().plusSeconds(120);
        while (Instant.now().isBefore(limit)) {
            for (Report r : reports) {
                Report.Header h = r.header();
                if (h.operation().equals(operation)
                        && h.host().equals(host)
                        && !h.state().equals("progress")
                        && (h.phase().equals(phase) || r instanceof Report.Failed)) {
                    return r;
                }
            }
            poll(Duration.ofMillis(200));
        }
        throw new AssertionError("no end of " + phase + " of " + operation + " from " + host + "; came " + reports);
    }

    /** Reads what has come; every report so far. */
    List<Report> poll(Duration atMost) throws InvalidEventException {
        for (ConsumerRecord<String, byte[]> r : consumer.poll(atMost)) {
            CloudEvent event = EventCodec.read(r.headers(), r.value());
            reports.add((Report) EventCodec.decode(event));
        }
        return List.copyOf(reports);
    }

    @Override
    public void close() throws Exception {
        for (String host : HOSTS) {
            if (agents.containsKey(host)) {
                stopAgent(host);
            }
        }
        if (producer != null) {
            producer.close();
            consumer.close();
        }
        if (broker != null) {
            broker.close();
        }
        if (turn != null) {
            network(false);
            turn.close();
        }
    }
}
