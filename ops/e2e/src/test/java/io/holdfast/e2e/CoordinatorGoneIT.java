package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Once the cut is commanded nobody needs the coordinator: it is stopped or killed then, in a whole stack. */
class CoordinatorGoneIT extends E2e {
    private static final String NET = "alone";
    private static final String COORDINATOR = "coordinator";
    private static final Map<String, String> HOST_OF = placement(2, "h1", "h2");

    @BeforeAll
    static void networkRuns() {
        deployRing(NET, 2, HOST_OF);
    }

    @AfterAll
    static void takeDown() {
        destroy(NET);
    }

    @Test
    void coordinatorThatIsStoppedKeepsNoVmStanding() {
        String operation = commandedThen(() -> stack().freeze(COORDINATOR));
        try {
            hostsGoOn(operation);
        } finally {
            stack().thaw(COORDINATOR);
        }
        allIsWellAgain(operation);
    }

    @Test
    void coordinatorThatIsKilledKeepsNoVmStanding() {
        String operation = commandedThen(() -> stack().kill(COORDINATOR));
        try {
            hostsGoOn(operation);
        } finally {
            stack().start(COORDINATOR);
        }
        allIsWellAgain(operation);
    }

    /** Asks for a checkpoint, and breaks the coordinator as soon as both hosts are commanded to cut. */
    private static String commandedThen(Runnable broken) {
        String id = requestId();
        String operation = events().operation(id);
        Set<String> commanded = ConcurrentHashMap.newKeySet();
        AtomicBoolean done = new AtomicBoolean();
        events().listen(s -> {
            if (s.data() instanceof Command.Cut c && c.header().operation().equals(operation)) {
                commanded.add(c.header().host());
                if (commanded.size() == 2 && !done.get()) {
                    broken.run();
                    System.out.printf(
                            "[e2e] the coordinator is gone %d ms before the cut%n",
                            c.startAtMicros() / 1000 - System.currentTimeMillis());
                    done.set(true);
                }
            }
        });
        events().publish(new Request.Checkpoint(NET, null), id);
        Await.until("the cut is commanded and the coordinator gone", LONG, done::get);
        return operation;
    }

    /** Cuts are taken, images written, VMs run; nobody is there to ask: what the hosts say and the consoles tell. */
    private static void hostsGoOn(String operation) {
        for (String host : List.of("h1", "h2")) {
            for (Class<?> report : List.of(Report.CutDone.class, Report.Written.class)) {
                events().await(
                                report.getSimpleName() + " from " + host,
                                LONG,
                                s -> report.isInstance(s.data())
                                        && ((Report) s.data())
                                                .header()
                                                .operation()
                                                .equals(operation)
                                        && ((Report) s.data()).header().host().equals(host));
            }
        }
        Map<String, Long> before = new TreeMap<>();
        HOST_OF.keySet().forEach(vm -> before.put(vm, console(vm).toFile().length()));
        Await.until("both VMs print while the coordinator is gone", LONG, () -> HOST_OF.keySet().stream()
                .allMatch(vm -> console(vm).toFile().length() > before.get(vm) + 200));
    }

    private static Path console(String vm) {
        return lab().console(HOST_OF.get(vm), NET, vm);
    }

    /** The operation has its end, the ring goes on unbroken, the next checkpoint is taken. */
    private static void allIsWellAgain(String operation) {
        PublicEvent end = events().awaitEnd(operation, LONG);
        System.out.printf(
                "[e2e] the checkpoint during which the coordinator was gone: %s%n",
                end.getClass().getSimpleName());
        // Gone for longer than it waits for a phase, on a machine with much to do, it gives up what it has not heard
        // of.
        assertThat(end).isInstanceOfAny(PublicEvent.CheckpointCompleted.class, PublicEvent.Failed.class);
        assertThat(watch().faults(watch().awaitProgress(NET, 5, 50, LONG))).isEmpty();
        assertThat(checkpoint(NET).cut().hosts()).hasSize(2);
    }
}
