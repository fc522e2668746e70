package io.holdfast.agent.early;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** QEMUs without a guest that stand, in folders as an agent leaves them. */
@Timeout(120)
class RescueIT {
    private static final Duration LONG = Duration.ofSeconds(60);

    @TempDir
    Path state;

    private final List<Process> qemus = new ArrayList<>();

    @BeforeEach
    void qemuIsThere() {
        Assumptions.assumeTrue(
                Files.isExecutable(Path.of("/usr/bin/qemu-system-x86_64")), "NOT TESTED: rescue: needs QEMU");
    }

    @AfterEach
    void end() throws Exception {
        for (Process q : qemus) {
            q.destroyForcibly();
            q.waitFor();
        }
    }

    private Process standing(String instance, String phase, String vm) throws Exception {
        Path folder = Files.createDirectories(
                state.resolve("instances").resolve(instance).resolve("vms").resolve(vm));
        Files.writeString(
                folder.resolve("../../state.json"),
                "{\"version\":1,\"phase\":\"" + phase + "\",\"epoch\":3,\"checkpoints\":[\"cp-1\"]}");
        Process q = new ProcessBuilder(
                        "/usr/bin/qemu-system-x86_64",
                        "-S",
                        "-nodefaults",
                        "-display",
                        "none",
                        "-machine",
                        "none",
                        "-chardev",
                        "socket,id=qmp,path=qmp.sock,server=on,wait=off",
                        "-mon",
                        "chardev=qmp,mode=control")
                .directory(folder.toFile())
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("qemu.log").toFile())
                .start();
        qemus.add(q);
        Files.writeString(folder.resolve("vm.json"), "{\"taps\":[10],\"spec\":{\"pid\":1},\"pid\":" + q.pid() + "}");
        await("QMP").atMost(LONG).until(() -> Files.exists(folder.resolve("qmp.sock")));
        return q;
    }

    private List<Rescue.Answer> rescue(Duration patience, Duration limit) {
        return new Rescue(state, patience, limit).run();
    }

    private static String policy(Process q) throws IOException {
        String stat = Files.readString(Path.of("/proc/" + q.pid() + "/stat"));
        return stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1)[38];
    }

    @Test
    void standingVmsOfRunningInstancesRunAgainAndNoOthers() throws Exception {
        // Given
        standing("lab", "RUNNING", "a");
        standing("lab", "RUNNING", "b");
        standing("half", "LOADED", "a");
        Files.createDirectories(state.resolve("instances/begun"));
        Files.createDirectories(state.resolve("instances/lab/vms/never-started"));
        // When
        List<Rescue.Answer> first = rescue(LONG, LONG);
        List<Rescue.Answer> second = rescue(LONG, LONG);
        // Then
        assertThat(first)
                .filteredOn(Rescue.Answer::ranAgain)
                .extracting(a -> a.instance() + "." + a.vm())
                .containsExactlyInAnyOrder("lab.a", "lab.b");
        assertThat(first)
                .hasSize(3)
                .filteredOn(a -> a.vm().equals("never-started"))
                .hasSize(1);
        assertThat(second)
                .filteredOn(a -> !a.vm().equals("never-started"))
                .extracting(Rescue.Answer::status)
                .containsExactly("running", "running");
    }

    @Test
    void vmThatDoesNotAnswerKeepsNoOtherStandingAndIsLeftAtTheLimit() throws Exception {
        // Given
        Process hangs = standing("lab", "RUNNING", "a");
        standing("lab", "RUNNING", "b");
        new ProcessBuilder("kill", "-STOP", Long.toString(hangs.pid())).start().waitFor();
        // When
        List<Rescue.Answer> answers = rescue(Duration.ofSeconds(5), Duration.ofSeconds(5));
        // Then
        assertThat(answers)
                .filteredOn(Rescue.Answer::ranAgain)
                .extracting(Rescue.Answer::vm)
                .containsExactly("b");
        await("nobody asks it any more").atMost(LONG).until(() -> Thread.getAllStackTraces().keySet().stream()
                .noneMatch(t -> t.getName().startsWith("rescue")));
    }

    @Test
    void socketWhosePathIsTooLongForAnAddressIsReached() throws Exception {
        // Given
        String longest = "n".repeat(40);
        state = Files.createDirectories(state.resolve("s".repeat(60)));
        standing(longest, "RUNNING", longest);
        // When
        List<Rescue.Answer> answers = rescue(LONG, LONG);
        // Then
        assertThat(answers).singleElement().matches(Rescue.Answer::ranAgain);
    }

    @Test
    void threadsInAHurryAreOrdinaryOnesBeforeTheVmRuns() throws Exception {
        // Given
        Process q = standing("lab", "RUNNING", "a");
        Process chrt = new ProcessBuilder("chrt", "-a", "-f", "-p", "1", Long.toString(q.pid())).start();
        Assumptions.assumeTrue(
                chrt.waitFor(10, TimeUnit.SECONDS) && chrt.exitValue() == 0,
                "NOT TESTED: no right to real-time threads");
        assertThat(policy(q)).isEqualTo("1");
        // When
        List<Rescue.Answer> answers = rescue(LONG, LONG);
        // Then
        assertThat(answers).singleElement().matches(Rescue.Answer::ranAgain);
        assertThat(policy(q)).isEqualTo("0");
    }

    @Test
    void withoutAStateFolderThereIsNothingToDo() {
        state = state.resolve("nowhere");
        assertThat(rescue(LONG, LONG)).isEmpty();
    }
}
