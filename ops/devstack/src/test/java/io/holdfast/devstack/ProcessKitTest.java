package io.holdfast.devstack;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProcessKitTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);

    @TempDir
    Path dir;

    @Test
    void aProcessThatEndsBeforeItIsReadyIsReportedWithItsLastWords() {
        try (ProcessKit.Running running = start("echo cannot find the thing; exit 3")) {
            assertThatThrownBy(() -> running.awaitLine("READY", LIMIT))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("ended before")
                    .hasMessageContaining("cannot find the thing");
        }
    }

    @Test
    void aProcessThatEndedBeforeAnybodyLookedIsReportedTheSameWay() throws Exception {
        Path log = dir.resolve("log");
        Process process = new ProcessBuilder("bash", "-c", "echo cannot find the thing; exit 3")
                .redirectOutput(log.toFile())
                .start();
        process.waitFor();

        ProcessKit.Running running = ProcessKit.running(process, log, 0);

        assertThatThrownBy(() -> running.awaitLine("READY", LIMIT))
                .hasMessageContaining("ended before")
                .hasMessageContaining("cannot find the thing");
    }

    @Test
    void aLineOfAnEarlierStartDoesNotCount() {
        try (ProcessKit.Running first = start("echo READY; exec sleep 60")) {
            first.awaitLine("READY", LIMIT);
        }
        try (ProcessKit.Running second = start("exec sleep 60")) {
            assertThatThrownBy(() -> second.awaitLine("READY", Duration.ofMillis(200)))
                    .hasMessageContaining("no sign of");
        }
    }

    @Test
    void aProcessThatIgnoresTermIsKilled() {
        ProcessKit.Running running = start("trap '' TERM; echo READY; while :; do sleep 1; done");
        running.awaitLine("READY", LIMIT);

        running.stop(Duration.ofMillis(200));

        assertThat(running.ids().isAlive()).isFalse();
    }

    @Test
    void aPidThatBelongsToAnotherProcessByNowIsNotSignalled() {
        try (ProcessKit.Running running = start("echo READY; exec sleep 60")) {
            running.awaitLine("READY", LIMIT);
            ProcessIds former =
                    new ProcessIds(running.ids().pid(), running.ids().startTicks() - 1);

            ProcessKit.end(former, Duration.ZERO);

            assertThat(former.isAlive()).isFalse();
            assertThat(running.ids().isAlive()).isTrue();
            assertThat(ProcessIds.parse(running.ids().text())).isEqualTo(running.ids());
        }
    }

    private ProcessKit.Running start(String script) {
        return ProcessKit.start(List.of("bash", "-c", script), Map.of(), dir.resolve("log"));
    }
}
