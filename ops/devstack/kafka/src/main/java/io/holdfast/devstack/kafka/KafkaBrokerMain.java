package io.holdfast.devstack.kafka;

import java.io.IOException;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.Logger;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.metadata.storage.Formatter;

/**
 * A stock Kafka broker and KRaft controller in one process, for the dev stack and the tests.
 *
 * <p>Usage: {@code KafkaBrokerMain --host ADDRESS --port PORT --data FOLDER [--parent PID] [--set key=value]...}. It
 * formats the folder when it holds no {@code meta.properties}, and prints one line {@code READY kafka ADDRESS:PORT}
 * on standard output once the broker takes requests. SIGTERM ends it cleanly. With {@code --parent} it also ends when
 * that process does.
 *
 * <p>Topics are not created by themselves: the coordinator makes Holdfast's.
 */
public final class KafkaBrokerMain {
    private static final int NODE_ID = 1;
    private static final String CONTROLLER_ADDRESS = "127.0.0.1";

    /** Log manager's loggers are weakly held: this reference keeps the level. */
    private static final Logger ROOT = Logger.getLogger("");

    private KafkaBrokerMain() {}

    /** Runs until the broker has ended. */
    public static void main(String[] args) throws Exception {
        System.setProperty("java.util.logging.SimpleFormatter.format", "%1$tFT%1$tT.%1$tL %4$s %3$s %5$s%6$s%n");
        ROOT.setLevel(Level.WARNING);
        for (Handler handler : ROOT.getHandlers()) {
            handler.setLevel(Level.ALL);
        }
        Map<String, String> options = new HashMap<>();
        Properties overrides = new Properties();
        for (int i = 0; i < args.length; i += 2) {
            if (i + 1 == args.length || !args[i].startsWith("--")) {
                throw new IllegalArgumentException("expected --name value, found " + args[i]);
            }
            if (args[i].equals("--set")) {
                int equals = args[i + 1].indexOf('=');
                overrides.put(args[i + 1].substring(0, equals), args[i + 1].substring(equals + 1));
            } else {
                options.put(args[i].substring(2), args[i + 1]);
            }
        }
        String host = options.getOrDefault("host", "127.0.0.1");
        int port = Integer.parseInt(required(options, "port"));
        Path data = Path.of(required(options, "data")).toAbsolutePath();
        Files.createDirectories(data);

        Properties settings = settings(host, port, freePort(), data);
        settings.putAll(overrides);
        if (!Files.exists(data.resolve("meta.properties"))) {
            format(data);
        }
        KafkaRaftServer server = new KafkaRaftServer(KafkaConfig.fromProps(settings, false), Time.SYSTEM);
        server.startup();
        // Not earlier: a shutdown amid the start may wait for ever; ended then, the log recovers by itself.
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown, "shutdown"));
        String parent = options.get("parent");
        if (parent != null) {
            exitWith(Long.parseLong(parent));
        }
        System.out.println("READY kafka " + host + ":" + port);
        server.awaitShutdown();
    }

    /**
     * The settings of a small single-node broker: replication of everything is 1, few threads, small buffers, and no
     * wait before a consumer group's first assignment.
     */
    static Properties settings(String host, int port, int controllerPort, Path data) {
        Properties p = new Properties();
        p.put("node.id", Integer.toString(NODE_ID));
        p.put("process.roles", "broker,controller");
        p.put("controller.quorum.voters", NODE_ID + "@" + CONTROLLER_ADDRESS + ":" + controllerPort);
        p.put("controller.listener.names", "CONTROLLER");
        p.put(
                "listeners",
                "PLAINTEXT://" + host + ":" + port + ",CONTROLLER://" + CONTROLLER_ADDRESS + ":" + controllerPort);
        p.put("advertised.listeners", "PLAINTEXT://" + host + ":" + port);
        p.put("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT");
        p.put("inter.broker.listener.name", "PLAINTEXT");
        p.put("log.dirs", data.toString());
        p.put("auto.create.topics.enable", "false");
        p.put("num.partitions", "1");
        p.put("default.replication.factor", "1");
        p.put("min.insync.replicas", "1");
        p.put("offsets.topic.replication.factor", "1");
        p.put("offsets.topic.num.partitions", "1");
        p.put("transaction.state.log.replication.factor", "1");
        p.put("transaction.state.log.min.isr", "1");
        p.put("transaction.state.log.num.partitions", "1");
        p.put("share.coordinator.state.topic.replication.factor", "1");
        p.put("share.coordinator.state.topic.min.isr", "1");
        p.put("share.coordinator.state.topic.num.partitions", "1");
        p.put("group.initial.rebalance.delay.ms", "0");
        p.put("num.network.threads", "2");
        p.put("num.io.threads", "2");
        p.put("background.threads", "2");
        p.put("num.recovery.threads.per.data.dir", "1");
        p.put("num.replica.alter.log.dirs.threads", "1");
        p.put("log.cleaner.threads", "1");
        p.put("log.cleaner.dedupe.buffer.size", Integer.toString(4 << 20));
        p.put("log.cleaner.io.buffer.size", Integer.toString(64 << 10));
        p.put("log.index.size.max.bytes", Integer.toString(1 << 20));
        // A broker that was killed is let in again only when its former session is over.
        p.put("broker.heartbeat.interval.ms", "500");
        p.put("broker.session.timeout.ms", "5000");
        return p;
    }

    private static void format(Path data) throws Exception {
        new Formatter()
                .setNodeId(NODE_ID)
                .setClusterId(Uuid.randomUuid().toString())
                .setControllerListenerName("CONTROLLER")
                .setMetadataLogDirectory(data.toString())
                .setDirectories(List.of(data.toString()))
                .setPrintStream(new PrintStream(System.out, true, StandardCharsets.UTF_8))
                .run();
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    /** Ends this process when the given one has ended: a killed test leaves no server behind. */
    private static void exitWith(long pid) {
        Thread watch = new Thread(
                () -> {
                    ProcessHandle.of(pid).ifPresent(parent -> parent.onExit().join());
                    System.exit(0);
                },
                "parent-watch");
        watch.setDaemon(true);
        watch.start();
    }

    private static String required(Map<String, String> options, String name) {
        String value = options.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }
}
