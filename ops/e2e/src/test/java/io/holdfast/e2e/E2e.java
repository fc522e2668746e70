package io.holdfast.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.cli.Api;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.view.InstanceView;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;

/** What the end-to-end tests share: one stack for all of them, with a name, subnet and folder of its own. */
abstract class E2e {
    static final Duration LONG = Duration.ofMinutes(2);
    static final String MEMORY = "128MiB";

    private static final AtomicInteger REQUESTS = new AtomicInteger();
    private static Stack stack;
    private static Events events;

    @BeforeAll
    static void stackIsUp() {
        synchronized (E2e.class) {
            if (stack == null) {
                Assumptions.assumeTrue(
                        "root".equals(System.getProperty("user.name")),
                        "NOT TESTED: end-to-end tests need root (namespaces, TAP, BPF)");
                Stack s = Stacks.forTests(line -> System.out.println("[e2e] " + line));
                Runtime.getRuntime().addShutdownHook(new Thread(s::close, "take down"));
                events = new Events(s.lab().bootstrap(), URI.create("/e2e"));
                stack = s;
            }
        }
    }

    @AfterEach
    void everyEventSeenIsValid() {
        assertThat(events.invalid()).isEmpty();
    }

    static Stack stack() {
        return stack;
    }

    static Lab lab() {
        return stack.lab();
    }

    static Events events() {
        return events;
    }

    static Api api() {
        return new Api(lab().coordinator());
    }

    static RingWatch watch() {
        return new RingWatch(lab(), api());
    }

    static String requestId() {
        return "e2e-" + ProcessHandle.current().pid() + "-" + REQUESTS.incrementAndGet();
    }

    /** Publishes a request and waits for its end, whatever it is. */
    static PublicEvent ended(Request request) {
        return events.awaitEnd(events.publish(request, requestId()), LONG);
    }

    /** Publishes a request and waits for its success. */
    static <T extends PublicEvent> T completed(Request request, Class<T> type) {
        PublicEvent end = ended(request);
        assertThat(end).isInstanceOf(type);
        return type.cast(end);
    }

    /** VMs a, b, ... by turns on those hosts. */
    static Map<String, String> placement(int vms, String... hosts) {
        Map<String, String> placement = new TreeMap<>();
        for (int i = 0; i < vms; i++) {
            placement.put(RingNet.names(vms).get(i), hosts[i % hosts.length]);
        }
        return placement;
    }

    /** Deploys a ring and waits until it runs. */
    static void deployRing(String instance, int vms, Map<String, String> placement) {
        var spec = RingNet.spec("ring", lab().guest(), MEMORY, vms, 100, 40, null, placement);
        completed(new Request.Deploy(spec, instance), PublicEvent.DeployCompleted.class);
        watch().awaitProgress(instance, 5, 50, LONG);
    }

    static PublicEvent.CheckpointCompleted checkpoint(String instance) {
        return completed(new Request.Checkpoint(instance, null), PublicEvent.CheckpointCompleted.class);
    }

    static InstanceView instance(String name) {
        return api().instance(name).orElseThrow();
    }

    /** Codes of a refusal or failure, of the whole and of the hosts. */
    static List<ErrorCode> codes(PublicEvent end) {
        List<ErrorCode> codes = new ArrayList<>();
        if (end instanceof PublicEvent.Rejected r) {
            r.problems().forEach(p -> codes.add(p.code()));
        } else if (end instanceof PublicEvent.Failed f) {
            codes.add(f.code());
            f.hosts().forEach(h -> codes.add(h.code()));
        }
        return codes;
    }

    /** Files of a checkpoint on any host; none may be left of one that failed. */
    static List<Path> localImages(String checkpoint) {
        return lab().hosts().values().stream()
                .map(h -> h.images().resolve(checkpoint))
                .filter(Files::exists)
                .toList();
    }

    /** Checkpoint id that an operation was to make. */
    static String checkpointOf(String operation) {
        return events.of(operation).stream()
                .filter(PublicEvent.Accepted.class::isInstance)
                .map(e -> ((PublicEvent.Accepted) e).checkpoint())
                .findFirst()
                .orElseThrow();
    }

    static void destroy(String instance) {
        completed(new Request.Destroy(instance, null), PublicEvent.DestroyCompleted.class);
        assertThat(leftovers(instance)).isEmpty();
    }

    /** What is left of an instance: processes, namespaces, files. */
    static List<String> leftovers(String instance) {
        List<String> left = new ArrayList<>();
        lab().hosts().values().forEach(h -> {
            Path folder = h.state().resolve("instances").resolve(instance);
            if (Files.exists(folder)) {
                left.add("folder " + folder);
            }
            Damage.processesWith(folder + "/").forEach(pid -> left.add("process " + Damage.commandLine(pid)));
        });
        try (Stream<Path> namespaces =
                Files.exists(Path.of("/run/netns")) ? Files.list(Path.of("/run/netns")) : Stream.empty()) {
            namespaces
                    .filter(n -> n.getFileName().toString().endsWith("-" + instance))
                    .forEach(n -> left.add("namespace " + n));
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
        for (String name : lab().hosts().keySet()) {
            interfacesOf(name).stream().filter(i -> i.startsWith("hfx")).forEach(i -> left.add("interface " + i));
        }
        return left;
    }

    /** Interfaces in a host's own namespace. */
    private static List<String> interfacesOf(String host) {
        try {
            Process p = new ProcessBuilder("ip", "-n", lab().hosts().get(host).netns(), "-o", "link")
                    .redirectErrorStream(true)
                    .start();
            return new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .map(l -> l.split(": ", -1))
                    .filter(w -> w.length > 1)
                    .map(w -> w[1])
                    .toList();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
