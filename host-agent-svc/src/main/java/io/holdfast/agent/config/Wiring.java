package io.holdfast.agent.config;

import io.holdfast.agent.app.AgentSettings;
import io.holdfast.agent.app.HostAgent;
import io.holdfast.agent.app.Outbox;
import io.holdfast.agent.app.Ports;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.agent.nat.Native;
import io.micrometer.core.instrument.MeterRegistry;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import org.eclipse.microprofile.config.inject.ConfigProperty;

/** Puts the parts together. */
@Singleton
public class Wiring {
    @Produces
    @Singleton
    HostAgent agent(
            AgentConfig config,
            Ports ports,
            Outbox outbox,
            MeterRegistry registry,
            @ConfigProperty(name = "quarkus.application.version") String version)
            throws IOException {
        AgentSettings settings = new AgentSettings(
                config.host(),
                config.underlay(),
                version,
                config.stateDir(),
                new ImageStore.Keep(config.keepImages(), config.keepUnused(), config.claimLimit()),
                config.pruneEvery(),
                config.prepareLimit(),
                config.writeLimit(),
                config.runLimit(),
                config.parallelism(),
                config.commandRetention(),
                config.commandMaxAge(),
                config.clockTolerance());
        Duration off = config.clockOffset().orElse(Duration.ZERO);
        Native.clockOffset(off.toNanos() / 1000);
        return new HostAgent(
                settings, ports, outbox, new MicrometerTelemetry(registry), Clock.offset(Clock.systemUTC(), off));
    }
}
