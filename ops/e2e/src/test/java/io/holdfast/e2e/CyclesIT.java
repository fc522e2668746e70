package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.cli.Figures;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Checkpoint, loss of everything on the hosts, restart elsewhere; again and again. */
class CyclesIT extends E2e {
    private static final int VMS = 4;
    private static final int CYCLES = 3;

    @Test
    void networkSurvivesThreeCyclesOfLossAndRestartOnRotatedHosts() {
        String net = "cycle";
        List<String> hosts = lab().hosts().keySet().stream().sorted().toList();
        deployRing(net, VMS, placement(VMS, hosts.get(0), hosts.get(1)));
        String checkpoint = null;
        Map<String, Console> before = null;
        Map<String, Console> after = null;
        for (int cycle = 1; cycle <= CYCLES; cycle++) {
            // Given a checkpoint of the running network
            before = watch().consoles(net);
            PublicEvent.CheckpointCompleted cp = checkpoint(net);
            checkpoint = cp.checkpoint();
            assertThat(cp.cut().hosts().stream().flatMap(h -> h.vms().stream()))
                    .hasSize(VMS)
                    .allMatch(Figures::balanced);
            assertThat(cp.cut().longestPauseMicros()).isLessThan(1_500_000);
            after = watch().awaitProgress(net, 2, 50, LONG);
            // and nothing left of it on the hosts
            assertThat(Damage.killAll(instance(net))).isEqualTo(VMS);
            Damage.deleteImages(lab(), checkpoint);
            Await.until("the loss is seen", LONG, () -> instance(net).state().equals("lost"));

            // When it is restarted with every VM on another host
            Map<String, String> elsewhere = rotated(hosts, cycle);
            completed(new Request.Restore(checkpoint, null, elsewhere, null), PublicEvent.RestoreCompleted.class);

            // Then the chain goes on from the checkpoint and nothing is lost, repeated or reordered
            Map<String, Console> now = watch().awaitProgress(net, 5, 100, LONG);
            assertThat(watch().restartFaults(before, after, now)).isEmpty();
            instance(net).vms().forEach(v -> assertThat(v.host()).isEqualTo(elsewhere.get(v.vm())));
        }

        // When the last checkpoint is restarted once more, beside it
        String copy = "cycle-copy";
        completed(
                new Request.Restore(checkpoint, copy, rotated(hosts, CYCLES + 1), null),
                PublicEvent.RestoreCompleted.class);

        // Then both go on, each its own way
        assertThat(watch().restartFaults(before, after, watch().awaitProgress(copy, 5, 100, LONG)))
                .isEmpty();
        watch().awaitProgress(net, 5, 100, LONG);

        // and destroying one leaves nothing of it and the other running
        destroy(net);
        watch().awaitProgress(copy, 5, 100, LONG);
        destroy(copy);
    }

    private static Map<String, String> rotated(List<String> hosts, int by) {
        Map<String, String> placement = new TreeMap<>();
        List<String> names = RingNet.names(VMS);
        for (int i = 0; i < VMS; i++) {
            placement.put(names.get(i), hosts.get((i + by) % hosts.size()));
        }
        return placement;
    }
}
