package io.holdfast.storage.it;

import com.github.dockerjava.api.DockerClient;
import com.github.dockerjava.api.exception.NotFoundException;
import com.github.dockerjava.api.model.Container;
import io.holdfast.devstack.RepoRoot;
import io.holdfast.devstack.S3Server;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.junit.jupiter.api.Assumptions;
import org.testcontainers.DockerClientFactory;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.wait.strategy.Wait;
import org.testcontainers.images.builder.ImageFromDockerfile;
import org.testcontainers.utility.DockerImageName;
import org.testcontainers.utility.MountableFile;

/**
 * An S3 server in a container of the Docker engine that answers here, by Testcontainers. By default it is the dev stack's, in an image
 * that {@code ops/containers/s3-image.sh} makes of this machine; system properties, or environment variables, name another:
 *
 * <ul>
 *   <li>{@code holdfast.test.s3-image} ({@code HOLDFAST_TEST_S3_IMAGE}): the image. The engine must have it, as nothing is pulled.
 *   <li>{@code holdfast.test.s3-command}: the container's arguments, separated by blanks; those of the image if not set.
 *   <li>{@code holdfast.test.s3-environment}: {@code NAME=VALUE}, separated by blanks.
 *   <li>{@code holdfast.test.s3-files}: {@code FILE:PATH}, a file of the checkout and where the container has it, separated by blanks.
 *   <li>{@code holdfast.test.s3-port}: the port in the container; 9000 if not set.
 *   <li>{@code holdfast.test.s3-access-key}, {@code holdfast.test.s3-secret-key}: its account, which may make buckets; the dev stack's
 *       if not set.
 * </ul>
 *
 * <p>Testcontainers' reaper (Ryuk) is off: it is an image of a registry, and needs the engine's socket in a privileged container. The
 * container ends with its class of tests, or with this JVM; what a killed JVM left, the next one removes.
 */
final class ContainerServer {
    private static final String LABEL = "io.holdfast.test";
    private static final Duration LIMIT = Duration.ofMinutes(3);
    private static final String NO_REAPER = "TESTCONTAINERS_RYUK_DISABLED";
    private static final String HOST = "TESTCONTAINERS_HOST_OVERRIDE";

    /** The image that this JVM had built; it is removed at this JVM's end. */
    private static String built;

    private ContainerServer() {}

    /**
     * Starts one for a class of tests, which is skipped where no Docker engine answers.
     *
     * @param dir for what an image is built of
     * @throws IllegalStateException when the engine lacks the image that is named, or the image cannot be built
     */
    static BucketTest.Server forTests(Path dir) throws Exception {
        if (!"true".equals(System.getenv(NO_REAPER))) {
            skip(NO_REAPER + "=true is not set, which the build does");
        }
        if (Files.exists(Path.of("/.dockerenv")) && System.getenv(HOST) == null) {
            skip("this is in a container, where Testcontainers would pull an image to find the engine's host: set "
                    + HOST);
        }
        if (!answers()) {
            skip("no Docker engine answers (DOCKER_HOST, else /var/run/docker.sock)");
        }
        DockerClient docker = DockerClientFactory.lazyClient();
        removeLeft(docker);
        String image = setting("image", "");
        if (image.isEmpty()) {
            image = build(docker, dir);
        } else {
            mustHave(docker, image);
        }
        int port = Integer.parseInt(setting("port", "9000"));
        GenericContainer<?> c = new GenericContainer<>(DockerImageName.parse(image))
                .withImagePullPolicy(name -> false)
                .withLabel(LABEL, machine() + owner(ProcessHandle.current()))
                .withExposedPorts(port)
                // it answers, be it with a refusal
                .waitingFor(Wait.forHttp("/")
                        .forPort(port)
                        .forStatusCodeMatching(s -> s < 500)
                        .withStartupTimeout(LIMIT));
        List<String> command = words("command");
        if (!command.isEmpty()) {
            c.withCommand(command.toArray(String[]::new));
        }
        words("environment").forEach(e -> c.withEnv(before(e, '='), after(e, '=')));
        words("files")
                .forEach(f -> c.withCopyFileToContainer(
                        MountableFile.forHostPath(RepoRoot.find().resolve(before(f, ':'))), after(f, ':')));
        try {
            c.start();
        } catch (RuntimeException e) {
            c.stop();
            throw e;
        }
        return new BucketTest.Server(
                "http://" + c.getHost() + ":" + c.getMappedPort(port),
                setting("access-key", S3Server.ACCESS_KEY),
                setting("secret-key", S3Server.SECRET_KEY),
                c::stop);
    }

    /** Whether an engine does; Testcontainers' first question has no limit of time. */
    private static boolean answers() {
        return CompletableFuture.supplyAsync(
                        () -> DockerClientFactory.instance().isDockerAvailable(),
                        task -> Thread.ofPlatform().daemon().start(task))
                .completeOnTimeout(false, 20, TimeUnit.SECONDS)
                .join();
    }

    private static void skip(String because) {
        String why = "NOT TESTED: the repository on an S3 server in a container, because " + because;
        System.err.println(why);
        Assumptions.abort(why);
    }

    /** Without a registry, by the engine's own builder. */
    private static synchronized String build(DockerClient docker, Path dir) throws Exception {
        if (built == null) {
            Files.createDirectories(dir);
            Path log = dir.resolve("s3-image.log");
            ProcessBuilder script = new ProcessBuilder(
                            RepoRoot.find()
                                    .resolve("ops/containers/s3-image.sh")
                                    .toString(),
                            dir.toString())
                    .redirectErrorStream(true)
                    .redirectOutput(log.toFile());
            script.environment().put("JAVA_HOME", System.getProperty("java.home"));
            Process p = script.start();
            boolean ended = p.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS);
            p.destroyForcibly();
            if (!ended || p.waitFor() != 0) {
                throw new IllegalStateException(script.command() + " failed: " + Files.readString(log));
            }
            ImageFromDockerfile image = new ImageFromDockerfile("localhost/holdfast-test-s3:latest", false);
            for (String file : List.of("Dockerfile", "root.tar")) {
                image.withFileFromPath(file, dir.resolve(file));
            }
            built = image.get(LIMIT.toSeconds(), TimeUnit.SECONDS);
            Runtime.getRuntime()
                    .addShutdownHook(new Thread(
                            () -> docker.removeImageCmd(built).withForce(true).exec()));
        }
        return built;
    }

    private static void mustHave(DockerClient docker, String image) {
        try {
            docker.inspectImageCmd(image).exec();
        } catch (NotFoundException e) {
            throw new IllegalStateException(
                    "the Docker engine lacks " + image + ", and tests pull nothing: docker pull " + image, e);
        }
    }

    /** Removes containers of test JVMs of this machine that are gone. */
    private static void removeLeft(DockerClient docker) throws IOException {
        String here = machine();
        Predicate<String> lives = owner -> ProcessHandle.allProcesses().anyMatch(p -> owner.equals(here + owner(p)));
        for (Container c : docker.listContainersCmd()
                .withShowAll(true)
                .withLabelFilter(List.of(LABEL))
                .exec()) {
            String owner = c.getLabels().get(LABEL);
            if (owner.startsWith(here) && !lives.test(owner)) {
                docker.removeContainerCmd(c.getId())
                        .withForce(true)
                        .withRemoveVolumes(true)
                        .exec();
            }
        }
    }

    private static String machine() throws IOException {
        return InetAddress.getLocalHost().getHostName() + " ";
    }

    private static String owner(ProcessHandle p) {
        return p.pid() + " " + p.info().startInstant().map(Instant::toString).orElse("");
    }

    private static String setting(String name, String other) {
        String property = "holdfast.test.s3-" + name;
        String variable = property.toUpperCase(Locale.ROOT).replace('.', '_').replace('-', '_');
        return System.getProperty(property, System.getenv().getOrDefault(variable, other));
    }

    private static List<String> words(String name) {
        List<String> words = new ArrayList<>(List.of(setting(name, "").strip().split("\\s+")));
        words.removeIf(String::isEmpty);
        return words;
    }

    private static String before(String pair, char separator) {
        return pair.substring(0, pair.indexOf(separator));
    }

    private static String after(String pair, char separator) {
        return pair.substring(pair.indexOf(separator) + 1);
    }
}
