package io.holdfast.e2e;

import io.holdfast.devstack.DevStack;
import io.holdfast.devstack.RepoRoot;
import io.holdfast.devstack.StackConfig;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/** Where demo, tests and benches get their stack from. */
public final class Stacks {
    private Stacks() {}

    /** The user's stack if one is up and whole, else one of the demo's own. */
    public static Stack forDemo(Consumer<String> say) {
        StackConfig users = StackConfig.standard();
        Optional<DevStack> up =
                DevStack.open(users.home()).filter(s -> s.unready().isEmpty());
        if (up.isPresent()) {
            say.accept("using the stack that is up in " + users.home());
            return new OnDevStack(up.get(), false, guest(say), null);
        }
        return own("hfm", "10.78.0", Map.of(), say);
    }

    /**
     * A stack for end-to-end tests, in no one's way. HOLDFAST_E2E_NAME (default {@code hfe}) and HOLDFAST_E2E_SUBNET (default
     * {@code 10.79.0}) keep two test runs on one machine apart.
     */
    public static Stack forTests(Consumer<String> say) {
        String name = System.getenv().getOrDefault("HOLDFAST_E2E_NAME", "hfe");
        String subnet = System.getenv().getOrDefault("HOLDFAST_E2E_SUBNET", "10.79.0");
        // Hosts that are gone are given up sooner than in earnest, so that the tests do not wait for it.
        return own(name, subnet, Map.of("holdfast.coordinator.host-lost", "8s"), say);
    }

    /** A stack for a bench. */
    public static Stack forBench(Consumer<String> say) {
        return own("hfb", "10.80.0", Map.of(), say);
    }

    private static Stack own(String name, String subnet, Map<String, String> settings, Consumer<String> say) {
        Path home = Path.of("/var/lib/holdfast-" + name);
        StackConfig config = StackConfig.of(name, home, subnet).withHosts(3);
        for (Map.Entry<String, String> e : settings.entrySet()) {
            config = config.withSetting(e.getKey(), e.getValue());
        }
        FileChannel lock = lock(name);
        // What a killed run of ours left would be in the way.
        DevStack.open(home)
                .ifPresentOrElse(
                        s -> s.down(false), () -> DevStack.removeUnrecorded(StackConfig.of(name, home, subnet)));
        Path guest = guest(say);
        DevStack stack;
        try {
            stack = DevStack.up(config, say);
        } catch (RuntimeException e) {
            DevStack.open(home).ifPresent(s -> s.down(true));
            throw e;
        }
        return new OnDevStack(stack, true, guest, lock);
    }

    /** Keeps a second run on this machine from taking down the first one's stack; let go when this JVM ends. */
    private static FileChannel lock(String name) {
        Path file = Path.of("/run/holdfast-" + name + ".lock");
        try {
            FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            if (channel.tryLock() == null) {
                channel.close();
                throw new IllegalStateException(
                        "another run uses stack " + name + " (" + file + " is locked): let it end");
            }
            return channel;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Builds the guest unless it is there already. */
    private static Path guest(Consumer<String> say) {
        Path folder = RepoRoot.find().resolve("ops/guest");
        Path out = DevStack.guestFolder();
        try {
            Process p = new ProcessBuilder(folder.resolve("build.sh").toString(), out.toString())
                    .redirectErrorStream(true)
                    .start();
            try (BufferedReader lines =
                    new BufferedReader(new InputStreamReader(p.getInputStream(), StandardCharsets.UTF_8))) {
                lines.lines().forEach(say);
            }
            if (p.waitFor() != 0) {
                throw new IllegalStateException("the guest was not built: " + folder.resolve("build.sh") + " " + out);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
        return out;
    }

    /** A dev stack. */
    private static final class OnDevStack implements Stack {
        private final DevStack stack;
        private final boolean mine;
        private final Lab lab;
        private final FileChannel lock;
        private boolean closed;

        OnDevStack(DevStack stack, boolean mine, Path guest, FileChannel lock) {
            this.lock = lock;
            this.stack = stack;
            this.mine = mine;
            StackConfig c = stack.config();
            Map<String, Lab.Host> hosts = new LinkedHashMap<>();
            List<String> names = c.hostNames();
            names.forEach(h -> hosts.put(h, new Lab.Host(h, c.stateFolder(h), c.imageFolder(h), c.namespace(h))));
            this.lab = new Lab(URI.create(c.coordinatorUrl()), c.bootstrapServers(), guest, c.home(), hosts);
        }

        @Override
        public Lab lab() {
            return lab;
        }

        @Override
        public void killAgent(String host) {
            kill("agent-" + host);
        }

        @Override
        public void startAgent(String host) {
            start("agent-" + host);
        }

        @Override
        public void kill(String process) {
            stack.kill(process);
        }

        @Override
        public void start(String process) {
            stack.start(process);
        }

        @Override
        public void freeze(String process) {
            stack.process(process).orElseThrow().signal("STOP");
        }

        @Override
        public void thaw(String process) {
            stack.process(process).orElseThrow().signal("CONT");
        }

        @Override
        public Path agentSafepoints(String host) {
            return stack.config().safepoints("agent-" + host);
        }

        @Override
        public synchronized void close() {
            if (mine && !closed) {
                closed = true;
                stack.down(false);
                try {
                    lock.close();
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
        }
    }
}
