package io.holdfast.agent.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.schemas.event.ErrorCode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FaultsTest {
    @TempDir
    Path state;

    private final List<String> done = new ArrayList<>();
    private final FaultPoints.Powers powers = new FaultPoints.Powers() {
        @Override
        public void kill() {
            done.add("killed");
        }

        @Override
        public void arm(FaultPoint point, String action, long millis) {
            done.add(point.number() + " " + action + " " + millis);
        }
    };

    private AgentConfig config(Map<String, String> more) {
        var all = new java.util.HashMap<>(Map.of(
                "holdfast.agent.host", "h1",
                "holdfast.agent.underlay", "10.0.0.1",
                "holdfast.agent.state-dir", state.toString()));
        all.putAll(more);
        return AgentConfigTest.config(all);
    }

    @Test
    void withoutPermissionFaultsAndWrongClocksAreRefused() {
        assertThat(Faults.of(config(Map.of()))).isSameAs(FaultPoints.OFF);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Faults.of(config(Map.of("holdfast.agent.fault", "cut.armed=kill"))))
                .withMessageContaining("fault-injection");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Faults.of(config(Map.of("holdfast.agent.clock-offset", "PT1H"))))
                .withMessageContaining("fault-injection");
    }

    @Test
    void offNothingHappensAndNothingCanBeArmed() throws Exception {
        Files.writeString(state.resolve("fault"), "cut.armed=fail");

        FaultPoints.OFF.look();
        FaultPoints.OFF.reach(FaultPoint.CUT_ARMED);

        assertThatIllegalStateException().isThrownBy(() -> FaultPoints.OFF.arm(FaultPoint.CUT_ARMED, () -> {}));
        assertThat(state.resolve("fault")).exists();
    }

    @Test
    void aFaultHappensOnceAtItsPoint() throws Exception {
        FaultPoints faults = FaultPoints.enabled(powers, null);
        faults.arm("cut.armed=fail, cut.done=kill,native.give=delay:5");

        faults.reach(FaultPoint.CUT_CHANNELS);
        assertThatThrownBy(() -> faults.reach(FaultPoint.CUT_ARMED)).isInstanceOfSatisfying(AgentException.class, e -> {
            assertThat(e.code()).isEqualTo(ErrorCode.IO_FAILED);
            assertThat(e).hasMessageContaining("cut.armed");
        });
        faults.reach(FaultPoint.CUT_ARMED);
        faults.reach(FaultPoint.CUT_DONE);
        faults.reach(FaultPoint.CUT_DONE);

        assertThat(done).containsExactly("58 delay 5", "killed");
    }

    @Test
    void slowHappensEachTime() throws Exception {
        FaultPoints faults = FaultPoints.enabled(powers, null);
        faults.arm("write.pages=slow:20");
        long begin = System.nanoTime();

        faults.reachIo(FaultPoint.WRITE_PAGES);
        faults.reachIo(FaultPoint.WRITE_PAGES);

        assertThat(System.nanoTime() - begin).isGreaterThan(39_000_000);
    }

    @Test
    void theFileIsTakenOnce() throws Exception {
        Path file = Files.writeString(state.resolve("fault"), "cut.armed=kill\n");
        FaultPoints faults = FaultPoints.enabled(powers, file);

        faults.look();
        faults.reach(FaultPoint.CUT_ARMED);

        assertThat(file).doesNotExist();
        assertThat(done).containsExactly("killed");
    }

    @Test
    void whatIsNotUnderstoodIsRefused() {
        FaultPoints faults = FaultPoints.enabled(powers, null);
        for (String bad : List.of(
                "cut.nothing=kill",
                "cut.armed",
                "cut.armed=burn",
                "cut.armed=delay:x",
                "prepare.reported=fail",
                "native.give=slow:1")) {
            assertThatIllegalArgumentException().as(bad).isThrownBy(() -> faults.arm(bad));
        }
    }

    @Test
    void numbersAreThoseOfTheNativeLibrary() throws Exception {
        assertThat(Arrays.stream(FaultPoint.values()).map(FaultPoint::number)).doesNotHaveDuplicates();
        String header = Files.readString(io.holdfast.devstack.RepoRoot.find().resolve("native/src/fault.h"));
        var names = Pattern.compile("HF_AT_([A-Z_]+)[ ,]")
                .matcher(header.substring(header.indexOf("enum"), header.indexOf("HF_AT_LAST")));
        int number = FaultPoint.FIRST_NATIVE;
        while (names.find()) {
            assertThat(FaultPoint.valueOf("NATIVE_" + names.group(1)).number()).isEqualTo(number++);
        }
        assertThat(number - FaultPoint.FIRST_NATIVE).isEqualTo((int)
                Arrays.stream(FaultPoint.values()).filter(FaultPoint::isNative).count());
    }
}
