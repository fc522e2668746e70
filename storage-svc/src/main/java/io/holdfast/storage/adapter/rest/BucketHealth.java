package io.holdfast.storage.adapter.rest;

import io.holdfast.storage.adapter.kafka.StorageService;
import jakarta.enterprise.context.ApplicationScoped;
import org.eclipse.microprofile.health.HealthCheck;
import org.eclipse.microprofile.health.HealthCheckResponse;
import org.eclipse.microprofile.health.Readiness;

/** Ready when the bucket answered last. */
@Readiness
@ApplicationScoped
public class BucketHealth implements HealthCheck {
    private final StorageService service;

    BucketHealth(StorageService service) {
        this.service = service;
    }

    @Override
    public HealthCheckResponse call() {
        String problem = service.problem();
        return problem == null
                ? HealthCheckResponse.up("bucket")
                : HealthCheckResponse.named("bucket")
                        .down()
                        .withData("problem", problem)
                        .build();
    }
}
