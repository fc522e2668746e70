package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.cli.Api;
import io.holdfast.devstack.RepoRoot;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.DiskSpec;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A checkpoint leaves Holdfast and comes back: stock QEMU runs the exported network, NICs and disks included, without anything of Holdfast;
 * a VM that it writes to a migration file becomes a checkpoint and goes on as an instance.
 */
class ExportIT extends E2e {
    private static final String NET = "away";
    private static final String DISK = "data";
    private static final Duration LIMIT = Duration.ofMinutes(3);
    private static final Pattern PAGES = Pattern.compile("MEMORY pages=(\\d+) generation=\\d+ ok");

    @TempDir
    Path dir;

    @Test
    void anExportedNetworkGoesOnUnderStockQemu_andAVmOfItComesBackAsACheckpoint() throws Exception {
        // Given a network of two VMs with a TCP connection each way and one that checks its memory, all of them with
        // NICs and disks
        List<VmSpec> vms = new ArrayList<>();
        vms.add(vm(
                "a",
                "hf.nic0=10.0.0.1/24 hf.nic1=10.0.1.1/24 hf.run=ring,2,0,7000,10.0.0.2,7000,20",
                RingNet.SEGMENTS));
        vms.add(vm(
                "b",
                "hf.nic0=10.0.0.2/24 hf.nic1=10.0.1.2/24 hf.run=ring,2,1,7000,10.0.1.1,7000,20",
                RingNet.SEGMENTS));
        vms.add(vm("c", "hf.nic0=10.0.0.3/24 hf.run=touch,8,200", List.of("red")));
        var spec = new NetworkSpec(
                "away",
                RingNet.SEGMENTS.stream().map(s -> new SegmentSpec(s, null)).toList(),
                vms,
                Map.of("a", "h1", "b", "h2", "c", "h3"));
        completed(new Request.Deploy(spec, NET), PublicEvent.DeployCompleted.class);
        Await.until(
                "the guests work",
                LIMIT,
                () -> ring(deployed("a")) > 20 && ring(deployed("b")) > 20 && pages(deployed("c")) > 0);
        long ringBefore = ring(deployed("a"));
        long pagesBefore = pages(deployed("c"));
        String checkpoint = checkpoint(NET).checkpoint();
        long ringAfter = ring(deployed("a"));
        destroy(NET);

        // When it is exported, and stock QEMU runs it
        Path out = dir.resolve("out");
        launcher(0, "command_export", checkpoint, out.toString());
        launcher(1, "command_export", checkpoint, out.toString());
        assertThat(out).isDirectoryNotContaining("glob:**/.images");
        assertThat(out.resolve("a/disk-data.raw")).hasSize(4L << 20);
        Path copy = dir.resolve("copy");
        run("cp", "-a", "--sparse=always", out.toString(), copy.toString());
        sameFromAnEncryptedRepository(checkpoint, copy);
        Process all = new ProcessBuilder(out.resolve("run-all.sh").toString())
                .redirectErrorStream(true)
                .redirectOutput(dir.resolve("run-all.log").toFile())
                .start();
        Path file = dir.resolve("c.migration");
        long pagesLeft;
        try {
            // Then each guest goes on from where it was, over the connections that it had
            Await.until(
                    () -> "the exported guests go on: " + read(dir.resolve("run-all.log")),
                    LIMIT,
                    () -> !all.isAlive()
                            || (ring(out.resolve("a/console.log")) > ringAfter + 40
                                    && ring(out.resolve("b/console.log")) > ringAfter + 40
                                    && pages(out.resolve("c/console.log")) > pagesBefore));
            assertThat(all.isAlive()).as(read(dir.resolve("run-all.log"))).isTrue();
            assertThat(Console.read(out.resolve("a/console.log"))
                            .firstRing()
                            .orElseThrow()
                            .count())
                    .isGreaterThanOrEqualTo(ringBefore);
            for (String vm : List.of("a", "b", "c")) {
                assertThat(Console.read(out.resolve(vm + "/console.log")).faults())
                        .isEmpty();
            }
            try (Qmp qmp = new Qmp(out.resolve("c/qmp.sock"))) {
                qmp.execute("stop", "{}");
                pagesLeft = pages(out.resolve("c/console.log"));
                qmp.execute("migrate", "{\"uri\":\"file:" + file + "\"}");
                Await.until("QEMU has written " + file, LIMIT, () -> qmp.execute("query-migrate", "{}")
                        .path("status")
                        .asText()
                        .equals("completed"));
            }
        } finally {
            all.destroy();
            assertThat(all.waitFor(60, TimeUnit.SECONDS)).isTrue();
        }
        // and when they are ended nothing of them is left
        Await.until("no QEMU of the export is left", LIMIT, () -> Damage.processesWith("guest=" + NET + ".")
                .isEmpty());

        // When it is run in a namespace that is there, a segment on a bridge that is there
        runsOnABridge(copy, ringAfter);

        // When the file is imported and restored
        JsonNode machine = Api.json().readTree(out.resolve("c/machine.json").toFile());
        ObjectNode vm = machine.get("vm").deepCopy();
        vm.put("accelerator", machine.path("qemu").path("accelerator").asText());
        vm.put("machine", machine.path("qemu").path("machine").asText());
        ObjectNode home = new ObjectMapper().createObjectNode().put("name", "home");
        home.putArray("segments").addObject().put("name", "red");
        home.putArray("vms").add(vm);
        Path specFile = Files.writeString(dir.resolve("home.json"), home.toString());
        String said = launcher(
                0, "command_import", specFile.toString(), file.toString(), DISK + "=" + out.resolve("c/disk-data.raw"));
        Matcher id =
                Pattern.compile("^checkpoint (cp-\\S+)$", Pattern.MULTILINE).matcher(said);
        assertThat(id.find()).as(said).isTrue();
        completed(new Request.Rebuild(false), PublicEvent.RebuildCompleted.class);
        completed(new Request.Restore(id.group(1), null, null, null), PublicEvent.RestoreCompleted.class);

        // Then it goes on from where QEMU stopped it
        Path console = lab().console(instance("home").vms().get(0).host(), "home", "c");
        Await.until("the imported guest goes on", LIMIT, () -> pages(console) > pagesLeft);
        assertThat(Console.read(console).faults()).isEmpty();
        destroy("home");
    }

    /** The same checkpoint in an encrypted repository is exported alike; without its key, or with another, not at all. */
    private void sameFromAnEncryptedRepository(String checkpoint, Path plain) throws Exception {
        Map<String, String> key =
                Map.of("HOLDFAST_STORAGE_PREFIX", "sealed", "HOLDFAST_STORAGE_KEY", "0123456789abcdef".repeat(4));
        Path images = dir.resolve("images");
        launcher(Map.of(), 0, "run_storage", "fetch", checkpoint, images.toString());
        launcher(key, 0, "run_storage", "store", images.resolve(checkpoint).toString());
        Path out = dir.resolve("sealed");

        for (Map<String, String> wrong : List.of(
                Map.of("HOLDFAST_STORAGE_PREFIX", "sealed"),
                Map.of("HOLDFAST_STORAGE_PREFIX", "sealed", "HOLDFAST_STORAGE_KEY", "f".repeat(64)))) {
            assertThat(launcher(wrong, 1, "command_export", checkpoint, out.toString()))
                    .contains("WRONG_KEY");
            assertThat(dir).isDirectoryNotContaining("glob:**/sealed*");
        }
        launcher(key, 0, "command_export", checkpoint, out.toString());

        // all but the manifest, which has digests of objects
        run("diff", "-r", "--no-dereference", "--exclude=checkpoint.json", plain.toString(), out.toString());
        assertThat(out.resolve("checkpoint.json")).content().contains(checkpoint);
    }

    /** {@code run-all.sh SEGMENT=BRIDGE}: the VMs are reached over the bridge, which stays; all else that was made is removed. */
    private void runsOnABridge(Path export, long ringAfter) throws Exception {
        String net = lab().hosts().get("h1").netns() + "-x";
        run("ip", "netns", "add", net);
        try {
            run("ip", "-n", net, "link", "add", "br0", "type", "bridge");
            run("ip", "-n", net, "link", "set", "br0", "up");
            run("ip", "-n", net, "address", "add", "10.0.0.99/24", "dev", "br0");
            Path log = dir.resolve("bridge.log");
            Process all = new ProcessBuilder(
                            "ip",
                            "netns",
                            "exec",
                            net,
                            export.resolve("run-all.sh").toString(),
                            "red=br0")
                    .redirectErrorStream(true)
                    .redirectOutput(log.toFile())
                    .start();
            try {
                Await.until(
                        () -> "the exported guests go on: " + read(log),
                        LIMIT,
                        () -> !all.isAlive() || ring(export.resolve("a/console.log")) > ringAfter + 40);
                assertThat(all.isAlive()).as(read(log)).isTrue();
                String reach = "(exec 3<> /dev/tcp/10.0.0.1/9) 2> /dev/null; ip neighbour show 10.0.0.1";
                assertThat(run("ip", "netns", "exec", net, "bash", "-c", reach)).contains("lladdr");
            } finally {
                all.destroy();
                assertThat(all.waitFor(60, TimeUnit.SECONDS)).isTrue();
            }
            assertThat(run("ip", "-n", net, "-o", "link").lines())
                    .hasSize(2)
                    .anyMatch(l -> l.contains(" lo:"))
                    .anyMatch(l -> l.contains(" br0:"));
        } finally {
            run("ip", "netns", "del", net);
        }
    }

    private static String run(String... command) throws IOException, InterruptedException {
        Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(p.waitFor()).as(said).isZero();
        return said;
    }

    private static VmSpec vm(String name, String words, List<String> segments) {
        VmSpec v = RingNet.vm(name, lab().guest(), MEMORY, words, segments);
        return new VmSpec(
                v.name(),
                v.vcpus(),
                v.memory(),
                v.hugepages(),
                v.cpu(),
                v.machine(),
                v.accelerator(),
                v.firmware(),
                v.kernel(),
                v.initrd(),
                v.cmdline(),
                List.of(new DiskSpec(DISK, DiskSpec.Mode.scratch, null, "4MiB")),
                v.nics(),
                v.console());
    }

    private static Path deployed(String vm) {
        return lab().console(
                        instance(NET).vms().stream()
                                .filter(v -> v.vm().equals(vm))
                                .findFirst()
                                .orElseThrow()
                                .host(),
                        NET,
                        vm);
    }

    private static long ring(Path console) {
        return Console.read(console).lastRing().map(Console.Ring::count).orElse(0L);
    }

    private static long pages(Path console) {
        long last = 0;
        for (Matcher m = PAGES.matcher(read(console)); m.find(); ) {
            last = Long.parseLong(m.group(1));
        }
        return last;
    }

    private static String read(Path file) {
        try {
            return Files.exists(file) ? Files.readString(file, StandardCharsets.ISO_8859_1) : "";
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** Runs a function of the launcher as its command does, but for the build, with the stack's bucket; returns what it printed. */
    private String launcher(int status, String function, String... words) throws IOException, InterruptedException {
        return launcher(Map.of(), status, function, words);
    }

    /** The same with more of an environment. */
    private String launcher(Map<String, String> environment, int status, String function, String... words)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                "bash",
                "-c",
                ". \"$1\"; shift; use_jdk; \"$@\"",
                "launcher",
                RepoRoot.find().resolve("holdfast").toString(),
                function));
        command.addAll(List.of(words));
        Path log = Files.createTempFile(dir, "launcher", ".log");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.environment().put("HOLDFAST_HOME", lab().home().toString());
        builder.environment().putAll(environment);
        Process p = builder.start();
        assertThat(p.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS)).isTrue();
        assertThat(p.exitValue()).as(read(log)).isEqualTo(status);
        return read(log);
    }

    /** A QEMU's monitor. */
    private static final class Qmp implements AutoCloseable {
        private final SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        private final java.io.BufferedReader in;

        Qmp(Path socket) throws IOException {
            channel.connect(UnixDomainSocketAddress.of(socket));
            in = new java.io.BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8));
            execute("qmp_capabilities", "{}");
        }

        /** Runs a command and returns what it returned. */
        JsonNode execute(String command, String arguments) {
            try {
                channel.write(StandardCharsets.UTF_8.encode(
                        "{\"execute\":\"" + command + "\",\"arguments\":" + arguments + "}\n"));
                while (true) {
                    JsonNode answer = Api.json().readTree(in.readLine());
                    if (answer.has("return") || answer.has("error")) {
                        assertThat(answer.has("return")).as(answer.toString()).isTrue();
                        return answer.get("return");
                    }
                }
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }
}
