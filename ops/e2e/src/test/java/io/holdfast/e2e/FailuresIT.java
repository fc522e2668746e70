package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.view.CheckpointView;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/** What goes wrong is told clearly, the VMs run on, and nothing is left behind. One network for all; each test leaves it running. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class FailuresIT extends E2e {
    private static final String NET = "fail";
    private static final Duration AGENT_LIMIT = Duration.ofSeconds(60);

    @BeforeAll
    static void networkRuns() {
        deployRing(NET, 2, placement(2, "h1", "h2"));
    }

    @Test
    @Order(1)
    void checkpointOfUnknownInstanceIsRejected() {
        // When
        PublicEvent end = ended(new Request.Checkpoint("nobody", null));
        // Then
        assertThat(end).isInstanceOf(PublicEvent.Rejected.class);
        assertThat(codes(end)).containsExactly(ErrorCode.UNKNOWN_INSTANCE);
    }

    @Test
    @Order(2)
    void repeatedRequestIsDoneOnce() {
        // Given
        String id = requestId();
        Request request = new Request.Checkpoint(NET, "once");
        // When it is sent twice, and once more when all is done
        events().publish(request, id);
        String operation = events().publish(request, id);
        PublicEvent end = events().awaitEnd(operation, LONG);
        events().publish(request, id);
        checkpoint(NET); // comes after it in the same queue
        // Then
        assertThat(end).isInstanceOf(PublicEvent.CheckpointCompleted.class);
        // a repeat is answered with what was answered before, and one checkpoint was taken
        assertThat(events().of(operation).stream()
                        .filter(PublicEvent.Accepted.class::isInstance)
                        .distinct())
                .hasSize(1);
        assertThat(events().of(operation).stream().filter(Events::isEnd).distinct())
                .hasSize(1);
        assertThat(api().checkpoints().stream().filter(c -> "once".equals(c.label())))
                .hasSize(1);
        runsOn();
    }

    @Test
    @Order(3)
    void kcatTakesACheckpoint() throws IOException, InterruptedException {
        Assumptions.assumeTrue(onPath("kcat"), "NOT TESTED: kcat is not installed");
        // Given
        String id = requestId();
        String command = events().kcat(new Request.Checkpoint(NET, "kcat"), id);
        // When
        Process kcat = new ProcessBuilder("sh", "-c", command).inheritIO().start();
        assertThat(kcat.waitFor(20, TimeUnit.SECONDS)).isTrue();
        // Then
        PublicEvent end = events().awaitEnd(events().operation(id), LONG);
        assertThat(end).isInstanceOf(PublicEvent.CheckpointCompleted.class);
        assertThat(api().checkpoints().stream().map(CheckpointView::label)).contains("kcat");
    }

    @Test
    @Order(4)
    void fullImageFolderFailsTheCheckpointOnly() throws IOException, InterruptedException {
        // Given
        String images = lab().hosts().get("h1").images().toString();
        sh("mount", "-t", "tmpfs", "-o", "size=1m", "hf-e2e-full", images);
        String operation;
        PublicEvent end;
        try {
            // When
            operation = events().publish(new Request.Checkpoint(NET, null), requestId());
            end = events().awaitEnd(operation, LONG);
            assertThat(localImages(checkpointOf(operation))).isEmpty();
        } finally {
            sh("umount", images);
        }
        // Then
        assertThat(end).isInstanceOf(PublicEvent.Failed.class);
        assertThat(codes(end)).contains(ErrorCode.NO_SPACE);
        assertThat(localImages(checkpointOf(operation))).isEmpty();
        runsOn();
    }

    @Test
    @Order(5)
    void hostWithoutAgentFailsTheCheckpointAndIsTakenOver() {
        // Given
        stack().killAgent("h2");
        // When it is asked for at once, while the host still counts as alive
        String operation = events().publish(new Request.Checkpoint(NET, null), requestId());
        PublicEvent end = events().awaitEnd(operation, LONG);
        // Then
        assertThat(end).isInstanceOfAny(PublicEvent.Failed.class, PublicEvent.Rejected.class);
        assertThat(codes(end)).containsAnyOf(ErrorCode.HOST_UNAVAILABLE, ErrorCode.PHASE_TIMEOUT);
        runsOn();

        // When it is asked for later
        PublicEvent later = ended(new Request.Checkpoint(NET, null));
        // Then
        assertThat(later).isInstanceOf(PublicEvent.Rejected.class);
        assertThat(codes(later)).contains(ErrorCode.HOST_UNAVAILABLE);

        // When the agent is there again
        List<Long> pids = pids();
        agentReturns("h2");
        // Then it has taken over the same QEMU, and the next checkpoint is taken
        assertThat(pids()).isEqualTo(pids);
        assertThat(checkpoint(NET).cut().hosts()).hasSize(2);
        if (end instanceof PublicEvent.Failed) {
            Await.until("the failed checkpoint leaves nothing", LONG, () -> localImages(checkpointOf(operation))
                    .isEmpty());
        }
        runsOn();
    }

    @Test
    @Order(6)
    void agentKilledWhileItWritesFailsTheCheckpointOnly() {
        // Given
        AtomicBoolean killed = new AtomicBoolean();
        String id = requestId();
        String operation = events().operation(id);
        events().listen(s -> {
            if (s.data() instanceof Report.CutDone c
                    && c.header().operation().equals(operation)
                    && c.header().host().equals("h1")
                    && killed.compareAndSet(false, true)) {
                stack().killAgent("h1");
            }
        });
        // When
        events().publish(new Request.Checkpoint(NET, null), id);
        Await.until("the cut on h1", LONG, killed::get);
        PublicEvent end = events().awaitEnd(operation, LONG);
        agentReturns("h1");
        // Then: it may have been written before the kill came, never half of it
        if (end instanceof PublicEvent.Failed) {
            assertThat(codes(end))
                    .containsAnyOf(ErrorCode.HOST_UNAVAILABLE, ErrorCode.PHASE_TIMEOUT, ErrorCode.INTERRUPTED);
            Await.until("the failed checkpoint leaves nothing", LONG, () -> localImages(checkpointOf(operation))
                    .isEmpty());
            assertThat(api().checkpoint(checkpointOf(operation))).isEmpty();
        }
        runsOn();
        assertThat(checkpoint(NET).cut().hosts()).hasSize(2);
    }

    @Test
    @Order(7)
    void deadVmFailsTheCheckpointAndTheOthersRunOn() {
        // Given a checkpoint to come back to
        var before = watch().consoles(NET);
        String good = checkpoint(NET).checkpoint();
        var after = watch().consoles(NET);
        var dead = instance(NET).vms().stream()
                .filter(v -> v.vm().equals("b"))
                .findFirst()
                .orElseThrow();
        // When
        Damage.killVm(dead, NET);
        String operation = events().publish(new Request.Checkpoint(NET, null), requestId());
        PublicEvent end = events().awaitEnd(operation, LONG);
        // Then
        assertThat(codes(end)).contains(ErrorCode.VM_DEAD);
        events().await(
                        "VmExited",
                        LONG,
                        s -> s.data() instanceof PublicEvent.VmExited x
                                && x.instance().equals(NET)
                                && x.vm().equals("b"));
        assertThat(instance(NET).vms())
                .filteredOn(v -> v.vm().equals("a"))
                .allMatch(v -> v.state().equals("running") && Damage.isAlive(v.pid()));
        assertThat(instance(NET).state()).isEqualTo("degraded");
        if (end instanceof PublicEvent.Failed) {
            assertThat(localImages(checkpointOf(operation))).isEmpty();
        }

        // When a VM still runs, a restart under its name must be asked for expressly
        PublicEvent refused = ended(new Request.Restore(good, null, null, null));
        // Then
        assertThat(codes(refused)).contains(ErrorCode.INSTANCE_EXISTS);

        // When
        completed(new Request.Restore(good, null, null, true), PublicEvent.RestoreCompleted.class);
        // Then
        assertThat(watch().restartFaults(before, after, watch().awaitProgress(NET, 5, 50, LONG)))
                .isEmpty();
    }

    @Test
    @Order(8)
    void bucketThatIsGoneForLongerThanItsServicesTryDelaysTheCheckpointOnly() {
        // Given
        stack().kill("s3");
        String operation = events().publish(new Request.Checkpoint(NET, null), requestId());
        // When the services have given it up
        Await.until("why it waits is told", LONG, () -> waiting(operation).stream()
                .anyMatch(p -> p.phase().equals("archive") && p.why().code() == ErrorCode.REPOSITORY_UNAVAILABLE));
        runsOn();
        assertThat(events().of(operation)).noneMatch(Events::isEnd);
        stack().start("s3");
        PublicEvent end = events().awaitEnd(operation, LONG);
        // Then
        assertThat(end).isInstanceOf(PublicEvent.CheckpointCompleted.class);
        assertThat(ended(new Request.Verify(checkpointOf(operation), 100)))
                .isInstanceOfSatisfying(
                        PublicEvent.VerifyCompleted.class,
                        v -> assertThat(v.result().sound()).isTrue());
        runsOn();
    }

    private static List<PublicEvent.Progressed> waiting(String operation) {
        return events().of(operation).stream()
                .filter(PublicEvent.Progressed.class::isInstance)
                .map(PublicEvent.Progressed.class::cast)
                .filter(p -> p.state().equals("waiting"))
                .toList();
    }

    @Test
    @Order(9)
    void destroyLeavesNothing() {
        destroy(NET);
        assertThat(api().instance(NET)).isEmpty();
    }

    private static void runsOn() {
        watch().awaitProgress(NET, 3, 20, LONG);
    }

    private static List<Long> pids() {
        return Damage.processesWith("/instances/" + NET + "/").stream().sorted().toList();
    }

    /** Starts the agent again and waits until the coordinator hears of it and of its running VM. */
    private static void agentReturns(String host) {
        stack().startAgent(host);
        Await.until(
                () -> "the agent of " + host + " is back with its VM; instance: " + instance(NET),
                AGENT_LIMIT,
                () -> api().hosts().stream().anyMatch(h -> h.host().equals(host) && h.agentAlive())
                        && instance(NET).state().equals("running"));
    }

    private static boolean onPath(String program) {
        for (String folder : System.getenv("PATH").split(":", -1)) {
            if (Path.of(folder, program).toFile().canExecute()) {
                return true;
            }
        }
        return false;
    }

    private static void sh(String... command) throws IOException, InterruptedException {
        Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(p.waitFor()).as(said).isZero();
    }
}
