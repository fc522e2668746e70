package io.holdfast.agent.pair;

import io.cloudevents.CloudEvent;
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

    Pair(Path folder, Path guest) {
        this.folder = folder;
        this.guest = guest;
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
        broker.awaitLine("READY kafka", Duration.ofSeconds(60));
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
        for (String host : HOSTS) {
            startAgent(host);
        }
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

    void startAgent(String host) throws IOException {
        List<String> command = new ArrayList<>(List.of("nsenter", "--net=/run/netns/" + NETNS + host.substring(1)));
        command.addAll(ProcessKit.java("-Xmx384m"));
        command.addAll(List.of(
                "-Dkafka.bootstrap.servers=" + NET + "254:" + port,
                "-Dholdfast.agent.host=" + host,
                "-Dholdfast.agent.underlay=" + underlay(host),
                "-Dholdfast.agent.state-dir=" + state(host),
                "-Dholdfast.agent.image-dir=" + images(host),
                "-Dholdfast.agent.boot-roots=" + guest,
                "-Dholdfast.agent.netns-prefix=hft-a-i-",
                "-Dquarkus.http.port=0",
                "-jar",
                RepoRoot.built("host-agent-svc/target/quarkus-app/quarkus-run.jar")
                        .toString()));
        Path log = folder.resolve(host + ".log");
        long before = Files.exists(log) ? Files.readString(log).split("event=agent-ready", -1).length : 1;
        ProcessKit.Running agent = ProcessKit.start(command, Map.of(), log);
        agents.put(host, agent);
        agent.await(
                () -> {
                    try {
                        return Files.readString(log).split("event=agent-ready", -1).length > before;
                    } catch (IOException e) {
                        return false;
                    }
                },
                "event=agent-ready",
                Duration.ofMinutes(2));
    }

    void killAgent(String host) {
        ProcessKit.kill(agents.get(host).ids());
    }

    void stopAgent(String host) {
        agents.get(host).stop(Duration.ofSeconds(20));
    }

    void send(Command command) throws Exception {
        producer.send(EventCodec.record(
                        Topics.COMMANDS,
                        command.header().host(),
                        EventCodec.encode(
                                command.header().id(),
                                URI.create("/holdfast/coordinator"),
                                command.header().operation(),
                                command,
                                Instant.now(),
                                Map.of())))
                .get();
    }

    /** The end report of a phase of an operation from a host; fails when it is another one than wanted. */
    <R extends Report> R await(Class<R> wanted, String operation, String host, String phase)
            throws InvalidEventException {
        Instant limit = Instant.now().plusSeconds(120);
        while (Instant.now().isBefore(limit)) {
            for (Report r : reports) {
                Report.Header h = r.header();
                if (h.operation().equals(operation)
                        && h.host().equals(host)
                        && !h.state().equals("progress")
                        && (h.phase().equals(phase) || r instanceof Report.Failed)) {
                    if (wanted.isInstance(r)) {
                        return wanted.cast(r);
                    }
                    throw new AssertionError("wanted " + wanted.getSimpleName() + ", came " + r);
                }
            }
            for (ConsumerRecord<String, byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                CloudEvent event = EventCodec.read(r.headers(), r.value());
                reports.add((Report) EventCodec.decode(event));
            }
        }
        throw new AssertionError(
                "no " + wanted.getSimpleName() + " of " + operation + " from " + host + "; came " + reports);
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
