package io.holdfast.coordinator.adapter.rest;

import io.holdfast.coordinator.app.Engine;
import org.eclipse.microprofile.health.HealthCheck;
import org.eclipse.microprofile.health.HealthCheckResponse;
import org.eclipse.microprofile.health.Readiness;

/** Ready once the journal is replayed and what was outstanding is sent again. */
@Readiness
class ReplayedCheck implements HealthCheck {
    private final Engine engine;

    ReplayedCheck(Engine engine) {
        this.engine = engine;
    }

    @Override
    public HealthCheckResponse call() {
        return HealthCheckResponse.named("journal replayed")
                .status(engine.running())
                .withData("epoch", engine.state().epoch())
                .build();
    }
}
