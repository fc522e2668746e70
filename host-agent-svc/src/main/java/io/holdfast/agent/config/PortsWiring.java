package io.holdfast.agent.config;

import io.holdfast.agent.app.Ports;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;

/** Chooses the adapters behind the ports. */
@Singleton
public class PortsWiring {
    @Produces
    @Singleton
    Ports ports(AgentConfig config) {
        throw new UnsupportedOperationException("the adapters are wired in the next change");
    }
}
