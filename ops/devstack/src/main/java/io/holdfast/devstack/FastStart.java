package io.holdfast.devstack;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Class data archives (CDS) that let the stack's JVMs start with less than half of the processor time.
 *
 * <p>An archive only serves classes of the plain class path. So services run from one here, with the same jars that
 * {@code java -jar quarkus-run.jar} loads by a class loader of its own. An archive that is older than a build is not used: the
 * JVM would ignore it too, but keep some 50 MiB of memory for it.
 */
public final class FastStart {
    /** What a Quarkus service's run jar has in its manifest. */
    private static final List<String> OPENS =
            List.of("java.base/java.lang", "java.base/java.nio", "java.base/jdk.internal");

    private static final String PART = ".part";

    /** What every build writes anew. */
    private static final List<String> BUILT = List.of("coordinator-svc", "host-agent-svc", "storage-svc");

    private FastStart() {}

    /** JVM arguments, class path and main class of a Quarkus service. */
    public static List<String> service(Path module) {
        Path app = RepoRoot.built(
                        module.resolve("target/quarkus-app/quarkus-run.jar").toString())
                .getParent();
        List<String> jars = new ArrayList<>();
        // Generated and transformed classes go before what they replace.
        jars.add(app.resolve("quarkus/generated-bytecode.jar").toString());
        Path transformed = app.resolve("quarkus/transformed-bytecode.jar");
        if (Files.exists(transformed)) {
            jars.add(transformed.toString());
        }
        jars.addAll(jars(app.resolve("app")));
        jars.addAll(jars(app.resolve("lib/main")));
        jars.addAll(jars(app.resolve("lib/boot")));
        List<String> arguments = new ArrayList<>();
        OPENS.forEach(opened -> arguments.add("--add-opens=" + opened + "=ALL-UNNAMED"));
        arguments.addAll(List.of("-cp", String.join(":", jars), mainClass(app)));
        return arguments;
    }

    /** What the run jar would start: the head of Quarkus' SerializedApplication is two numbers and the main class. */
    private static String mainClass(Path app) {
        Path file = app.resolve("quarkus/quarkus-application.dat");
        try (DataInputStream in = new DataInputStream(Files.newInputStream(file))) {
            in.skipNBytes(2 * Integer.BYTES);
            return in.readUTF();
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    /** Class path and main class of a plain program of ours: its jar (its classes before it is packaged) and its libraries. */
    static List<String> program(Path module, String main) {
        RepoRoot.built(module.resolve("target/lib").toString());
        Path target = RepoRoot.find().resolve(module).resolve("target");
        List<String> path = new ArrayList<>(jars(target));
        if (path.isEmpty()) {
            path.add(target.resolve("classes").toString());
        }
        path.addAll(jars(target.resolve("lib")));
        return List.of("-cp", String.join(":", path), main);
    }

    /** Flags that use a kind of process's archive when there is one of this build. */
    public static List<String> use(String kind) {
        Path archive = archive(kind);
        List<Path> built = BUILT.stream()
                .map(m -> RepoRoot.find().resolve(m).resolve("target/quarkus-app/quarkus-run.jar"))
                .toList();
        return isCurrent(archive, built)
                ? List.of("-Xshare:auto", "-XX:SharedArchiveFile=" + archive, "-Xlog:cds*=off")
                : List.of();
    }

    /** Whether an archive is there and newer than everything that was built. */
    static boolean isCurrent(Path archive, List<Path> built) {
        long written = archive.toFile().lastModified(); // 0 when it is not there
        return written > 0 && built.stream().allMatch(b -> b.toFile().lastModified() < written);
    }

    /** Flags that write a kind of process's archive when the process ends. */
    static List<String> record(String kind) {
        try {
            Files.createDirectories(archive(kind).getParent());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return List.of("-XX:ArchiveClassesAtExit=" + archive(kind) + PART, "-Xlog:cds*=off");
    }

    /** Puts a written archive in place, after its process has ended. */
    static void adopt(String kind) {
        Path part = Path.of(archive(kind) + PART);
        try {
            if (Files.exists(part)) {
                Files.move(part, archive(kind), StandardCopyOption.ATOMIC_MOVE);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Path archive(String kind) {
        return RepoRoot.find().resolve(".holdfast/cds").resolve(kind + ".jsa");
    }

    private static List<String> jars(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(Path::toString)
                    .filter(f -> f.endsWith(".jar"))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
