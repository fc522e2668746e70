package io.holdfast.agent.app;

import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.agent.domain.NetworkFabric;

/** The ports that the application logic works on. */
public record Ports(
        NetworkFabric fabric, CutEngine cutEngine, Hypervisor hypervisor, ImageStore images, FaultPoints faults) {
    /** Without faults. */
    public Ports(NetworkFabric fabric, CutEngine cutEngine, Hypervisor hypervisor, ImageStore images) {
        this(fabric, cutEngine, hypervisor, images, FaultPoints.OFF);
    }
}
