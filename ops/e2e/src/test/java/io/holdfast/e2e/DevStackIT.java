package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.holdfast.devstack.DevStack;
import io.holdfast.devstack.ProcessIds;
import io.holdfast.devstack.StackConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The dev stack itself: two live side by side, and down leaves nothing. */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
class DevStackIT {
    @TempDir
    Path dir;

    private StackConfig first;
    private StackConfig second;

    @BeforeEach
    void needsRoot() {
        assumeTrue("root".equals(System.getProperty("user.name")), "NOT TESTED: network namespaces need root");
        first = StackConfig.of("hfta", dir.resolve("a"), "10.91.0").withHosts(1);
        second =
                StackConfig.of("hftb", dir.resolve("b"), "10.92.0").withHosts(1).withImageFolderSize("h1", "16m");
    }

    @AfterEach
    void takeDown() {
        DevStack.open(first.home()).ifPresent(s -> s.down(false));
        DevStack.open(second.home()).ifPresent(s -> s.down(false));
    }

    @Test
    void twoStacksLiveSideBySideAndDownLeavesNothingOfOneAndAllOfTheOther() throws Exception {
        DevStack a = DevStack.up(first, line -> {});
        DevStack b = DevStack.up(second, line -> {});
        List<ProcessIds> processesOfA = processes(a);
        assertThat(processesOfA).hasSize(5);
        assertThat(a.get("/api/v1/hosts").orElseThrow()).hasSize(1);
        assertThat(Files.getFileStore(second.imageFolder("h1")).getTotalSpace()).isEqualTo(16L << 20);

        a.down(false);

        assertThat(processesOfA).noneMatch(ProcessIds::isAlive);
        assertThat(namespaces("hfta-")).isEmpty();
        assertThat(Path.of("/sys/class/net/hfta0")).doesNotExist();
        assertThat(first.home()).doesNotExist();
        assertThat(b.unready()).isEmpty();

        b.down(false);

        assertThat(namespaces("hftb-")).isEmpty();
        assertThat(second.home()).doesNotExist();
    }

    @Test
    void aProcessThatWasKilledIsStartedByTheNextUpAndTheOthersStay() {
        DevStack stack = DevStack.up(first, line -> {});
        ProcessIds broker = stack.process("kafka").orElseThrow();
        ProcessIds agent = stack.process("agent-h1").orElseThrow();
        stack.kill("agent-h1");
        assertThat(stack.unready()).containsExactly("agent-h1");

        DevStack again = DevStack.up(first, line -> {});

        assertThat(again.unready()).isEmpty();
        assertThat(again.process("kafka")).contains(broker);
        assertThat(again.process("agent-h1").orElseThrow()).isNotEqualTo(agent);
    }

    @Test
    void aFolderWithSomethingElseInItIsNotTakenForAHome() throws Exception {
        Files.createDirectories(first.home());
        Path precious = Files.writeString(first.home().resolve("thesis.tex"), "mine");

        assertThatThrownBy(() -> DevStack.up(first, line -> {}))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("thesis.tex");

        assertThat(precious).exists();
        assertThat(namespaces("hfta-")).isEmpty();
    }

    @Test
    void aProcessThatIsNoVmOfTheStackIsNotKilled() {
        DevStack stack = DevStack.up(first, line -> {});
        long me = ProcessHandle.current().pid();

        assertThatThrownBy(() -> stack.killVm(me)).isInstanceOf(IllegalArgumentException.class);
    }

    private static List<ProcessIds> processes(DevStack stack) {
        return new ArrayList<>(stack.processNames().stream()
                .map(stack::process)
                .flatMap(Optional::stream)
                .toList());
    }

    private static List<String> namespaces(String prefix) throws IOException {
        Path folder = Path.of("/run/netns");
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(p -> p.getFileName().toString())
                    .filter(n -> n.startsWith(prefix))
                    .toList();
        }
    }
}
