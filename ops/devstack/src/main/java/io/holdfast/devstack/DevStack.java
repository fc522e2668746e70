package io.holdfast.devstack;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * A whole Holdfast on one machine: broker, S3 server, coordinator, and per host an agent and a storage service, each a
 * process in a session of its own, the hosts being network namespaces.
 *
 * <p>Everything it keeps is under {@link StackConfig#home()}: {@code stack.json} (the configuration; its presence says
 * that the stack is up), {@code logs/PROCESS.log}, {@code run/PROCESS.pid} (pid and start time, so that no foreign
 * process is ever signalled), {@code kafka/}, {@code s3/}, {@code hosts/HOST/}. Processes: {@code kafka}, {@code s3},
 * {@code coordinator}, {@code agent-HOST}, {@code storage-HOST}.
 *
 * <p>Needs root. Not thread-safe; two programs must not change the same stack at once.
 */
public final class DevStack implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration READY_LIMIT = Duration.ofMinutes(3);
    private static final Duration STOP_LIMIT = Duration.ofSeconds(10);

    /** Writing an archive of classes takes a JVM some seconds more. */
    private static final Duration TRAINING_STOP_LIMIT = Duration.ofMinutes(2);

    private static final Duration HTTP_LIMIT = Duration.ofSeconds(3);

    /** An answer to HTTP costs both sides more than a look at a file: not too often while all services start. */
    private static final Duration LOOK = Duration.ofMillis(100);

    private static final String RECORD = "stack.json";

    private final StackConfig config;
    private final boolean training;
    private final Underlay underlay;
    private final HttpClient http =
            HttpClient.newBuilder().connectTimeout(HTTP_LIMIT).build();

    private DevStack(StackConfig config, boolean training) {
        this.config = config;
        this.training = training;
        this.underlay = new Underlay(config);
    }

    /** The stack recorded in a home folder, up or partly down; empty when none is recorded. */
    public static Optional<DevStack> open(Path home) {
        Path record = home.resolve(RECORD);
        if (!Files.exists(record)) {
            return Optional.empty();
        }
        try {
            return Optional.of(new DevStack(
                    JSON.treeToValue(JSON.readTree(record.toFile()).path("config"), StackConfig.class), false));
        } catch (IOException e) {
            throw new UncheckedIOException(record + " cannot be read", e);
        }
    }

    /**
     * Brings a stack up and waits until all of it works. A stack that is recorded in the same home and whole is taken as
     * it is; one that is partly down is completed.
     *
     * @param progress told what is being done, a line each
     * @throws IllegalStateException when something is in the way or does not come up; the message ends with the tail of
     *     the log that tells why. What was started stays for a look; {@link #down} removes it.
     */
    public static DevStack up(StackConfig config, Consumer<String> progress) {
        Optional<DevStack> recorded = open(config.home());
        if (recorded.isPresent()) {
            DevStack stack = recorded.get();
            if (stack.config.hosts() != config.hosts() || !stack.config.name().equals(config.name())) {
                throw new IllegalStateException("stack " + stack.config.name() + " with " + stack.config.hosts()
                        + " hosts is up in " + config.home() + ": take it down first");
            }
            boolean networkThere = stack.underlay.namespaces().containsAll(stack.hostNamespaces());
            if (networkThere) {
                stack.startAll(progress);
                return stack;
            }
            progress.accept("removing what a restart of the machine left of the former stack");
            stack.down(false);
        }
        return fresh(new DevStack(config, false), progress);
    }

    /**
     * Brings a small stack up and down once, so that those to come start fast: every process leaves an archive of its
     * classes under {@code .holdfast/cds}. For after a build.
     */
    public static void train(StackConfig config) {
        DevStack stack = new DevStack(config.withHosts(1), true);
        try {
            fresh(stack, line -> {});
        } finally {
            stack.down(false);
        }
        stack.processNames().forEach(name -> FastStart.adopt(kind(name)));
    }

    private static DevStack fresh(DevStack stack, Consumer<String> progress) {
        StackConfig config = stack.config;
        stack.requireEmptyHome();
        stack.underlay.requireFree();
        try {
            Files.createDirectories(config.home().resolve("run"));
            Path part = config.home().resolve(RECORD + ".part");
            JSON.writerWithDefaultPrettyPrinter().writeValue(part.toFile(), stack.record());
            Files.move(part, config.home().resolve(RECORD), StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        progress.accept("network: " + config.hosts() + " hosts on " + config.subnet() + ".0/24");
        stack.underlay.build();
        stack.prepareFolders();
        stack.startAll(progress);
        return stack;
    }

    /** The configuration that it came up with. */
    public StackConfig config() {
        return config;
    }

    /** Names of all processes, in the order they are started. */
    public List<String> processNames() {
        List<String> names = new ArrayList<>(List.of("kafka", "s3", "coordinator"));
        for (String host : config.hostNames()) {
            names.add("agent-" + host);
            names.add("storage-" + host);
        }
        return names;
    }

    /** The running process of a name; empty when it does not run. */
    public Optional<ProcessIds> process(String name) {
        Path file = pidFile(name);
        try {
            return Files.exists(file)
                    ? Optional.of(ProcessIds.parse(Files.readString(file))).filter(ProcessIds::isAlive)
                    : Optional.empty();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Starts a process that does not run, and waits until it is ready. No effect on one that runs. */
    public void start(String name) {
        if (process(name).isEmpty()) {
            launch(name);
        }
        awaitReady(name);
    }

    /** Ends a process in order (SIGTERM, after 10 s SIGKILL) and waits for its end. */
    public void stop(String name) {
        process(name).ifPresent(ids -> ProcessKit.end(ids, STOP_LIMIT));
    }

    /** Ends a process with SIGKILL and waits for its end. */
    public void kill(String name) {
        process(name).ifPresent(ProcessKit::kill);
    }

    /** Pids of the processes in instances' namespaces on a host: its VMs. */
    public List<Long> vmPids(String host) {
        List<Long> pids = new ArrayList<>();
        for (String namespace : instanceNamespaces(host)) {
            pids.addAll(Underlay.processes(namespace));
        }
        return pids;
    }

    /** Namespaces of instances on a host. */
    public List<String> instanceNamespaces(String host) {
        return underlay.namespaces().stream()
                .filter(n -> n.startsWith(config.namespace(host) + "-"))
                .toList();
    }

    /**
     * Kills a VM with SIGKILL, as its crash would.
     *
     * @throws IllegalArgumentException when the pid is not one of {@link #vmPids} of any host
     */
    public void killVm(long pid) {
        boolean ours = config.hostNames().stream().anyMatch(host -> vmPids(host).contains(pid));
        if (!ours) {
            throw new IllegalArgumentException("pid " + pid + " is no VM of stack " + config.name());
        }
        ProcessIds.of(pid).ifPresent(ProcessKit::kill);
    }

    /** Deletes all images in a host's image folder, as a loss of its disk would. */
    public void deleteImages(String host) {
        Path folder = config.imageFolder(host);
        if (Files.isDirectory(folder)) {
            try (var entries = Files.list(folder)) {
                entries.forEach(DevStack::deleteTree);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** Names of processes that do not run, or do not say that they are ready. */
    public List<String> unready() {
        return processNames().stream()
                .filter(name -> process(name).isEmpty() || !isReady(name))
                .toList();
    }

    /** Same as {@link #down}{@code (false)}. */
    @Override
    public void close() {
        down(false);
    }

    /**
     * Takes everything down: services, VMs (by SIGKILL: instances are gone, checkpoints in the bucket too), namespaces,
     * and all files.
     *
     * @param keep keeps the files (logs, topics, bucket, hosts' folders) but not the record that the stack is up
     */
    public void down(boolean keep) {
        List<String> services = processNames().stream()
                .filter(n -> !n.equals("kafka") && !n.equals("s3"))
                .toList();
        endAll(services);
        endAll(List.of("kafka", "s3"));
        List<ProcessIds> rest = underlay.processes().stream()
                .map(ProcessIds::of)
                .flatMap(Optional::stream)
                .toList();
        rest.forEach(ids -> ids.signal("KILL"));
        rest.forEach(ProcessKit::kill);
        underlay.remove();
        for (String host : config.hostNames()) {
            unmount(config.imageFolder(host));
        }
        if (keep) {
            deleteTree(config.home().resolve("run"));
            deleteTree(config.home().resolve(RECORD));
        } else {
            deleteTree(config.home());
        }
    }

    /**
     * Removes namespaces, and the processes in them, that carry a stack's names although its home records none: after
     * someone deleted the home of a running stack.
     */
    public static void removeUnrecorded(StackConfig config) {
        new DevStack(config, false).down(true);
    }

    /** An HTTP GET of the coordinator, as {@code /api/v1/hosts}; empty unless the answer is 200 and JSON. */
    public Optional<JsonNode> get(String path) {
        return httpGet(config.coordinatorUrl() + path).map(body -> {
            try {
                return JSON.readTree(body);
            } catch (IOException e) {
                return null;
            }
        });
    }

    private List<String> hostNamespaces() {
        return config.hostNames().stream().map(config::namespace).toList();
    }

    private void requireEmptyHome() {
        Path home = config.home();
        if (!Files.isDirectory(home)) {
            return;
        }
        // What a kept or broken-off stack leaves is ours; anything else in there is not.
        List<String> ours = List.of("logs", "run", "kafka", "s3", "hosts", "boot", RECORD + ".part");
        try (var entries = Files.list(home)) {
            List<String> foreign = entries.map(p -> p.getFileName().toString())
                    .filter(n -> !ours.contains(n))
                    .toList();
            if (!foreign.isEmpty()) {
                throw new IllegalStateException(
                        "the stack's home " + home + " holds " + foreign
                                + ", which are not a stack's: 'down' would delete them; choose an empty folder with HOLDFAST_HOME");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void prepareFolders() {
        try {
            for (String host : config.hostNames()) {
                Files.createDirectories(config.imageFolder(host));
                Files.createDirectories(config.stateFolder(host));
                Files.createDirectories(config.storageFolder(host));
                String size = config.imageFolderSize().get(host);
                if (size != null) {
                    Commands.run(
                            "mount",
                            "-t",
                            "tmpfs",
                            "-o",
                            "mode=0755,size=" + size,
                            "holdfast-" + config.name(),
                            config.imageFolder(host).toString());
                }
            }
            Files.createDirectories(config.home().resolve("boot"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void startAll(Consumer<String> progress) {
        List<String> toStart =
                processNames().stream().filter(n -> process(n).isEmpty()).toList();
        List<String> servers = List.of("kafka", "s3");
        toStart.stream().filter(servers::contains).forEach(this::launch);
        if (toStart.contains("kafka")) {
            progress.accept("broker: " + config.bootstrapServers());
        }
        awaitReady("kafka");
        toStart.stream().filter(n -> !servers.contains(n)).forEach(this::launch);
        if (!toStart.isEmpty()) {
            progress.accept("services: " + String.join(" ", toStart));
        }
        processNames().forEach(this::awaitReady);
        awaitHosts();
    }

    /** The coordinator has heard of every host. */
    private void awaitHosts() {
        await(
                "coordinator",
                () -> get("/api/v1/hosts").map(this::countAlive).orElse(0) >= config.hosts(),
                "heartbeats of all " + config.hosts() + " hosts");
    }

    private int countAlive(JsonNode answer) {
        JsonNode list = answer.isArray() ? answer : answer.path("hosts");
        int alive = 0;
        for (JsonNode host : list) {
            alive += host.path("state").asText().equals("alive") ? 1 : 0;
        }
        return alive;
    }

    private void endAll(List<String> names) {
        List<ProcessIds> running =
                names.stream().map(this::process).flatMap(Optional::stream).toList();
        running.forEach(ids -> ids.signal("TERM"));
        running.forEach(ids -> ProcessKit.end(ids, training ? TRAINING_STOP_LIMIT : STOP_LIMIT));
    }

    private Path pidFile(String name) {
        if (!processNames().contains(name)) {
            throw new IllegalArgumentException("no process '" + name + "'; there are " + processNames());
        }
        return config.home().resolve("run").resolve(name + ".pid");
    }

    private void launch(String name) {
        Path file = pidFile(name);
        ProcessKit.Running running = ProcessKit.start(command(name), environment(name), config.log(name));
        try {
            Files.writeString(file, running.ids().text());
        } catch (IOException e) {
            running.close();
            throw new UncheckedIOException(e);
        }
    }

    /**
     * What a process gets beside the environment of who starts it. A storage service's archives and pulls have threads of their own, which come
     * to ever other arenas of malloc; each keeps what they freed. Two are enough: Java code allocates on the heap.
     */
    private static Map<String, String> environment(String name) {
        return name.startsWith("storage-") ? Map.of("MALLOC_ARENA_MAX", "2") : Map.of();
    }

    private List<String> command(String name) {
        Path home = config.home();
        return switch (name) {
            case "kafka" ->
                KafkaBroker.command(
                        config.gateway(),
                        config.kafkaPort(),
                        home.resolve("kafka"),
                        flags(name, "-Xmx256m", "-XX:TieredStopAtLevel=1"));
            case "s3" ->
                yielding(S3Server.command(
                        config.gateway(), config.s3Port(), home.resolve("s3"), flags(name, "-Xmx512m")));
            case "coordinator" -> {
                Map<String, String> settings = common(config.gateway(), config.coordinatorPort());
                // All hosts, the broker and the VMs share this machine's processors: a command may take a while to
                // arrive.
                settings.put("holdfast.coordinator.cut-lead", "1s");
                yield service("coordinator-svc", flags(name, "-Xmx256m", "-XX:TieredStopAtLevel=1"), settings);
            }
            default -> {
                String host = name.substring(name.indexOf('-') + 1);
                List<String> command =
                        new ArrayList<>(List.of("nsenter", "--net=/run/netns/" + config.namespace(host)));
                command.addAll(name.startsWith("agent-") ? agent(host) : yielding(storage(host)));
                yield command;
            }
        };
    }

    /** What archives has time; guests that share the processors with it have not. */
    private static List<String> yielding(List<String> command) {
        return Stream.concat(Stream.of("nice", "-n", "10"), command.stream()).toList();
    }

    private List<String> flags(String name, String... own) {
        List<String> flags = new ArrayList<>(List.of("-Xms64m"));
        flags.addAll(List.of(own));
        flags.addAll(training ? FastStart.record(kind(name)) : FastStart.use(kind(name)));
        return flags;
    }

    private static String kind(String name) {
        int dash = name.indexOf('-');
        return dash < 0 ? name : name.substring(0, dash);
    }

    private List<String> agent(String host) {
        Map<String, String> settings = common(config.address(host), config.agentPort());
        settings.put("holdfast.agent.host", host);
        settings.put("holdfast.agent.underlay", config.address(host));
        settings.put("holdfast.agent.state-dir", config.stateFolder(host).toString());
        settings.put("holdfast.agent.image-dir", config.imageFolder(host).toString());
        settings.put(
                "holdfast.agent.boot-roots",
                String.join(",", config.bootRoots().stream().map(Path::toString).toList()));
        settings.put("holdfast.agent.netns-prefix", config.name() + "-");
        return service("host-agent-svc", flags("agent-" + host, "-Xmx512m", safepointLog("agent-" + host)), settings);
    }

    /** A JVM that stands lengthens a cut: what it stood is kept, 8 MB of it at most. */
    private String safepointLog(String process) {
        return "-Xlog:safepoint:file=" + config.safepoints(process) + ":utctime:filecount=1,filesize=4m";
    }

    private List<String> storage(String host) {
        Map<String, String> settings = common(config.address(host), config.storagePort());
        settings.put("holdfast.storage.host", host);
        settings.put("holdfast.storage.image-dir", config.imageFolder(host).toString());
        settings.put("holdfast.storage.state-dir", config.storageFolder(host).toString());
        settings.put("holdfast.storage.endpoint", config.s3Endpoint());
        settings.put("holdfast.storage.bucket", S3Server.BUCKET);
        settings.put("holdfast.storage.access-key", S3Server.ACCESS_KEY);
        settings.put("holdfast.storage.secret-key", S3Server.SECRET_KEY);
        // with all that a JVM needs beside its heap: 512 MiB at most (docs/operations.md)
        return service("storage-svc", flags("storage-" + host, "-Xmx256m"), settings);
    }

    private Map<String, String> common(String address, int port) {
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("kafka.bootstrap.servers", config.bootstrapServers());
        settings.put("quarkus.http.host", address);
        settings.put("quarkus.http.port", Integer.toString(port));
        return settings;
    }

    private List<String> service(String module, List<String> flags, Map<String, String> settings) {
        List<String> command = ProcessKit.java(flags.toArray(String[]::new));
        settings.putAll(config.settings());
        settings.forEach((key, value) -> command.add("-D" + key + "=" + value));
        command.addAll(FastStart.service(Path.of(module)));
        return command;
    }

    private boolean isReady(String name) {
        return switch (name) {
            case "kafka" -> KafkaBroker.answers(config.gateway(), config.kafkaPort());
            case "s3" -> S3Server.listens(config.gateway(), config.s3Port());
            case "coordinator" -> healthy(config.gateway(), config.coordinatorPort());
            default -> {
                String address = config.address(name.substring(name.indexOf('-') + 1));
                yield healthy(address, name.startsWith("agent-") ? config.agentPort() : config.storagePort());
            }
        };
    }

    private boolean healthy(String address, int port) {
        return httpGet("http://" + address + ":" + port + "/q/health/ready").isPresent();
    }

    private Optional<String> httpGet(String url) {
        try {
            HttpResponse<String> answer = http.send(
                    HttpRequest.newBuilder(URI.create(url)).timeout(HTTP_LIMIT).build(),
                    HttpResponse.BodyHandlers.ofString());
            return answer.statusCode() == 200 ? Optional.of(answer.body()) : Optional.empty();
        } catch (IOException e) {
            return Optional.empty();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }

    private void awaitReady(String name) {
        await(name, () -> isReady(name), name + " being ready");
    }

    private void await(String name, java.util.function.BooleanSupplier condition, String what) {
        ProcessIds ids = process(name)
                .orElseThrow(() -> new IllegalStateException(
                        name + " ended right after its start" + ProcessKit.tailOf(config.log(name))));
        new ProcessKit.Running(ids, config.log(name), 0).await(condition, what, READY_LIMIT, LOOK);
    }

    /** What other programs may read from stack.json: stable names; {@code config} is for this class alone. */
    private Map<String, Object> record() {
        Map<String, Object> record = new LinkedHashMap<>();
        record.put("name", config.name());
        record.put("coordinator", config.coordinatorUrl());
        record.put("bootstrap", config.bootstrapServers());
        record.put("s3", config.s3Endpoint());
        record.put("bucket", S3Server.BUCKET);
        record.put("accessKey", S3Server.ACCESS_KEY);
        record.put("secretKey", S3Server.SECRET_KEY);
        record.put("guest", guestFolder().toString());
        List<Map<String, String>> hosts = new ArrayList<>();
        for (String host : config.hostNames()) {
            Map<String, String> entry = new LinkedHashMap<>();
            entry.put("name", host);
            entry.put("address", config.address(host));
            entry.put("namespace", config.namespace(host));
            entry.put("stateDir", config.stateFolder(host).toString());
            entry.put("imageDir", config.imageFolder(host).toString());
            entry.put("agent", "http://" + config.address(host) + ":" + config.agentPort());
            entry.put("storage", "http://" + config.address(host) + ":" + config.storagePort());
            hosts.add(entry);
        }
        record.put("hosts", hosts);
        record.put("config", config);
        return record;
    }

    /** Where the launcher builds the guest that demo, tests and benches boot. */
    public static Path guestFolder() {
        return RepoRoot.find().resolve(".holdfast/guest");
    }

    private static void unmount(Path folder) {
        if (Commands.tryRun(List.of("mountpoint", "-q", folder.toString())).status() == 0) {
            Commands.run("umount", folder.toString());
        }
    }

    /** Deletes a file or folder without following links; no effect when it is not there. */
    static void deleteTree(Path top) {
        if (!Files.exists(top, java.nio.file.LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try {
            Files.walkFileTree(top, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.delete(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path folder, IOException error) throws IOException {
                    if (error != null) {
                        throw error;
                    }
                    Files.delete(folder);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
