package io.holdfast.agent.adapter.kafka;

import io.holdfast.agent.app.Fakes;
import io.holdfast.agent.app.Ports;
import io.quarkus.test.Mock;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;

/** Puts a host of plain objects behind the agent's ports: the Kafka side is what is real here. */
@Mock
@Singleton
public class FakeHost {
    @Produces
    @Singleton
    @Mock
    Fakes host() {
        return new Fakes();
    }

    @Produces
    @Singleton
    @Mock
    Ports ports(Fakes host) {
        return host.ports();
    }
}
