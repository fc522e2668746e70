package io.holdfast.agent.app;

import io.holdfast.agent.domain.CutEngine;
import io.holdfast.agent.domain.Hypervisor;
import io.holdfast.agent.domain.ImageStore;
import io.holdfast.agent.domain.NetworkFabric;

/** The ports that the application logic works on. */
public record Ports(NetworkFabric fabric, CutEngine cutEngine, Hypervisor hypervisor, ImageStore images) {}
