package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.spec.Accelerator;
import io.holdfast.schemas.spec.Hugepages;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.NicSpec;
import io.holdfast.schemas.spec.SegmentSpec;
import io.holdfast.schemas.spec.VmSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The whole way with a guest that needs no more than a processor in real mode: KVM is tested so even where it cannot boot Linux (nested, without
 * the hardware's help). Machines are a q35 and a microvm.
 */
class RealModeIT extends E2e {
    private static final Map<String, String> MACHINES = Map.of("a", "pc-q35-9.0", "b", "microvm");

    @ParameterizedTest
    @EnumSource(
            value = Accelerator.class,
            names = {"kvm", "tcg"})
    void countOfEveryGuestGoesOnExactlyOnOtherHosts(Accelerator accelerator) {
        assumeThat(accelerator == Accelerator.tcg || Files.isWritable(Path.of("/dev/kvm")))
                .as("NOT TESTED: a network of VMs under KVM: /dev/kvm cannot be opened")
                .isTrue();
        String net = "count-" + accelerator;
        NetworkSpec spec = new NetworkSpec(
                "count",
                List.of(new SegmentSpec("lan", 1500)),
                MACHINES.entrySet().stream()
                        .map(m -> vm(m.getKey(), m.getValue(), accelerator))
                        .toList(),
                Map.of("a", "h1", "b", "h2"));
        completed(new Request.Deploy(spec, net), PublicEvent.DeployCompleted.class);
        instance(net).vms().forEach(v -> assertThat(v.accelerator()).isEqualTo(accelerator.toString()));
        awaitLines(net, 5);

        // Given a checkpoint from which the guests have run on, and the loss of them all
        Map<String, Integer> before = lines(net);
        String checkpoint = checkpoint(net).checkpoint();
        Map<String, Integer> after = lines(net);
        awaitLines(net, after.values().stream().mapToInt(n -> n).max().orElse(0) + 5);
        consoles(net).values().forEach(text -> assertCounts(text, 1));
        assertThat(Damage.killAll(instance(net))).isEqualTo(MACHINES.size());
        Damage.deleteImages(lab(), checkpoint);
        Await.until("the loss is seen", LONG, () -> instance(net).state().equals("lost"));

        // When it is restarted on other hosts
        completed(
                new Request.Restore(checkpoint, null, Map.of("a", "h2", "b", "h3"), null),
                PublicEvent.RestoreCompleted.class);

        // Then each count goes on from a number that it had between the request and the completion, and none is left
        // out
        awaitLines(net, 5);
        consoles(net).forEach((vm, text) -> {
            int first = Integer.parseInt(
                            text.lines().skip(1).findFirst().orElseThrow().substring(9), 16)
                    / 4096;
            assertThat(first - 1).isBetween(before.get(vm), after.get(vm) + 1);
            assertCounts(text.substring(text.indexOf('\n') + 1), first);
        });
        destroy(net);
    }

    private static VmSpec vm(String name, String machine, Accelerator accelerator) {
        return new VmSpec(
                name,
                1,
                "16MiB",
                Hugepages.off,
                "qemu64",
                machine,
                accelerator,
                lab().guest().resolve("count.bin").toString(),
                null,
                null,
                null,
                List.of(),
                List.of(new NicSpec("lan", null)),
                true);
    }

    private static Map<String, String> consoles(String net) {
        Map<String, String> texts = new TreeMap<>();
        instance(net).vms().forEach(v -> {
            try {
                texts.put(v.vm(), Files.readString(lab().console(v.host(), net, v.vm()), StandardCharsets.ISO_8859_1));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
        return texts;
    }

    /** How many whole lines each guest has printed. */
    private static Map<String, Integer> lines(String net) {
        Map<String, Integer> lines = new TreeMap<>();
        consoles(net)
                .forEach((vm, text) ->
                        lines.put(vm, (int) text.chars().filter(c -> c == '\n').count()));
        return lines;
    }

    private static void awaitLines(String net, int more) {
        Await.until("every guest has counted on", LONG, () -> lines(net).values().stream()
                .allMatch(n -> n > more));
    }

    /** Every whole line is the next 4,096 numbers. */
    private static void assertCounts(String text, int first) {
        List<String> lines = text.substring(0, text.lastIndexOf('\n')).lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            assertThat(lines.get(i)).isEqualTo(String.format(Locale.ROOT, "HF-COUNT %08x", (first + i) * 4096));
        }
    }
}
