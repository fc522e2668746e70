package io.holdfast.agent.config;

import io.holdfast.agent.app.DeviceAccess;
import io.holdfast.agent.app.HostAgent;
import io.quarkus.runtime.Quarkus;
import io.quarkus.runtime.ShutdownEvent;
import io.quarkus.runtime.StartupEvent;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.jboss.logging.Logger;

/** Starts and stops the agent with its process. The takeover runs beside the start; commands wait for it. */
@ApplicationScoped
public class AgentLifecycle {
    private static final Logger LOG = Logger.getLogger(AgentLifecycle.class);
    private final HostAgent agent;

    AgentLifecycle(HostAgent agent) {
        this.agent = agent;
    }

    void started(@Observes StartupEvent event) {
        Thread.ofPlatform().name("agent-start").start(() -> {
            try {
                DeviceAccess.give(
                        List.of(Path.of("/dev/kvm"), Path.of("/dev/userfaultfd")),
                        Path.of("/etc/passwd"),
                        Path.of("/etc/group"));
                agent.start();
            } catch (IOException | RuntimeException | Error e) {
                LOG.errorf(e, "event=agent-start-failed");
                Quarkus.asyncExit(1);
            }
        });
    }

    void stopping(@Observes ShutdownEvent event) {
        agent.stop();
    }
}
