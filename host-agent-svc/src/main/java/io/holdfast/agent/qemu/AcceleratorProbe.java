package io.holdfast.agent.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.agent.domain.Hypervisor.AcceleratorChoice;
import io.holdfast.agent.image.FileIo;
import io.holdfast.schemas.event.EventCodec;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;

/**
 * What {@code accelerator: auto} gives on this host. A {@code /dev/kvm} that opens is no proof (nested, without help of the hardware, it can be
 * there and boot nothing), so a Linux kernel is booted under KVM once; its first line on the serial console is the proof. The result is kept in
 * the state folder until the host boots anew or QEMU changes. Thread-safe.
 */
final class AcceleratorProbe {
    private static final Logger LOG = Logger.getLogger(AcceleratorProbe.class);
    private static final String FILE = "accelerator.json";
    private static final Path KVM = Path.of("/dev/kvm");
    private static final String FIRST_LINE = "Linux version ";

    private final QemuSettings settings;
    private final String qemuVersion;

    // Guarded by this.
    private AcceleratorChoice known;

    AcceleratorProbe(QemuSettings settings, String qemuVersion) {
        this.settings = settings;
        this.qemuVersion = qemuVersion;
    }

    /**
     * The choice, proven now if it has not been yet.
     *
     * @param own a kernel to prove it with when no other is configured or found, or null
     */
    synchronized AcceleratorChoice choose(Path own) {
        if (known != null) {
            return known;
        }
        if (!Files.isReadable(KVM) || !Files.isWritable(KVM)) {
            known = new AcceleratorChoice("tcg", KVM + " cannot be opened");
            return known;
        }
        known = kept();
        if (known != null) {
            return known;
        }
        Optional<Path> kernel =
                settings.probeKernel().or(() -> Optional.ofNullable(own)).or(this::find);
        if (kernel.isEmpty()) {
            // Not kept: the first VM's kernel will tell.
            return new AcceleratorChoice("tcg", KVM + " is there but not proven: no kernel to boot yet");
        }
        known = boot(kernel.get());
        LOG.infof("event=accelerator-proven accelerator=%s reason=\"%s\"", known.accelerator(), known.reason());
        keep(known);
        return known;
    }

    private Optional<Path> find() {
        for (Path root : settings.bootRoots()) {
            try (var found = Files.find(
                    root,
                    2,
                    (p, a) -> a.isRegularFile() && p.getFileName().toString().startsWith("vmlinuz"))) {
                Optional<Path> first = found.sorted().findFirst();
                if (first.isPresent()) {
                    return first;
                }
            } catch (IOException | java.io.UncheckedIOException e) {
                LOG.debugf("event=boot-root-unreadable folder=%s reason=%s", root, e.getMessage());
            }
        }
        return Optional.empty();
    }

    private AcceleratorChoice boot(Path kernel) {
        long began = System.nanoTime();
        Process p;
        try {
            p = new ProcessBuilder(List.of(
                            settings.binary().toString(),
                            "-nodefaults",
                            "-no-user-config",
                            "-display",
                            "none",
                            "-machine",
                            "pc-q35-9.0",
                            "-accel",
                            "kvm",
                            "-cpu",
                            "qemu64",
                            "-m",
                            "256M",
                            "-no-reboot",
                            "-chardev",
                            "stdio,id=console,signal=off",
                            "-serial",
                            "chardev:console",
                            "-kernel",
                            kernel.toString(),
                            "-append",
                            "console=ttyS0 earlyprintk=serial,ttyS0,115200 panic=-1"))
                    .redirectErrorStream(true)
                    .redirectInput(
                            ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                    .start();
        } catch (IOException e) {
            return new AcceleratorChoice("tcg", "QEMU cannot be started with KVM: " + e.getMessage());
        }
        CompletableFuture<String> seen = new CompletableFuture<>();
        Thread.ofPlatform().daemon().name("kvm-probe").start(() -> read(p, seen));
        String line;
        try {
            line = seen.completeOnTimeout(null, settings.probeLimit().toNanos(), TimeUnit.NANOSECONDS)
                    .join();
        } finally {
            p.destroyForcibly();
        }
        Duration took = Duration.ofNanos(System.nanoTime() - began);
        if (line != null && line.contains(FIRST_LINE)) {
            return new AcceleratorChoice(
                    "kvm",
                    String.format(
                            Locale.ROOT,
                            "a Linux kernel boots under KVM (%.1f s to its first line)",
                            took.toMillis() / 1e3));
        }
        return new AcceleratorChoice(
                "tcg",
                line == null
                        ? KVM + " opens, but under it a Linux kernel printed nothing within "
                                + settings.probeLimit().toMillis() + " ms"
                        : KVM + " opens, but QEMU ended before a kernel's first line: " + line);
    }

    private static void read(Process p, CompletableFuture<String> seen) {
        String last = "";
        try (var in = new BufferedReader(new InputStreamReader(p.getInputStream(), StandardCharsets.ISO_8859_1))) {
            for (String l = in.readLine(); l != null; l = in.readLine()) {
                last = l.isBlank() ? last : l.strip();
                if (l.contains(FIRST_LINE)) {
                    seen.complete(l);
                    return;
                }
            }
        } catch (IOException e) {
            last = e.getMessage();
        }
        seen.complete("'" + last + "'");
    }

    private AcceleratorChoice kept() {
        Path file = settings.stateFolder().resolve(FILE);
        try {
            if (!Files.exists(file)) {
                return null;
            }
            JsonNode n = EventCodec.json().readTree(file.toFile());
            if (n.path("bootId").asText().equals(VmRecord.hostBootId())
                    && n.path("qemu").asText().equals(qemuVersion)) {
                return new AcceleratorChoice(
                        n.path("accelerator").asText(), n.path("reason").asText());
            }
        } catch (IOException e) {
            LOG.warnf("event=accelerator-unreadable file=%s reason=%s", file, e.getMessage());
        }
        return null;
    }

    private void keep(AcceleratorChoice choice) {
        try {
            Files.createDirectories(settings.stateFolder());
            FileIo.writeAtomically(
                    settings.stateFolder().resolve(FILE),
                    EventCodec.json()
                            .writeValueAsBytes(EventCodec.json()
                                    .createObjectNode()
                                    .put("bootId", VmRecord.hostBootId())
                                    .put("qemu", qemuVersion)
                                    .put("accelerator", choice.accelerator())
                                    .put("reason", choice.reason())));
        } catch (IOException e) {
            LOG.warnf("event=accelerator-not-kept reason=%s", e.getMessage());
        }
    }
}
