package io.holdfast.agent.config;

import io.holdfast.agent.app.DeviceAccess;
import io.holdfast.agent.app.Ports;
import io.holdfast.agent.cut.GateCutEngine;
import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.domain.FaultPoints;
import io.holdfast.agent.image.FolderImageStore;
import io.holdfast.agent.image.NativeCloner;
import io.holdfast.agent.net.IpFabric;
import io.holdfast.agent.qemu.QemuHypervisor;
import io.holdfast.agent.qemu.QemuSettings;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;
import java.io.IOException;
import java.nio.file.Files;
import java.util.List;

/** Chooses the adapters behind the ports. */
@Singleton
public class PortsWiring {
    @Produces
    @Singleton
    Ports ports(AgentConfig config) throws IOException, AgentException {
        Files.createDirectories(config.stateDir());
        QemuSettings usual =
                QemuSettings.defaults(config.stateDir(), config.bootRoots().orElse(List.of()));
        QemuSettings settings = new QemuSettings(
                config.qemu(),
                usual.stateFolder(),
                usual.bootRoots(),
                config.probeKernel(),
                usual.probeLimit(),
                DeviceAccess.USER,
                config.stageBytes(),
                usual.startLimit(),
                usual.commandLimit(),
                config.loadLimit());
        FaultPoints faults = Faults.of(config);
        return new Ports(
                new IpFabric(config.host(), config.netnsPrefix(), config.vxlanPort()),
                new GateCutEngine(config.settle(), faults),
                new QemuHypervisor(settings, new NativeCloner(), faults),
                new FolderImageStore(config.imageDir()),
                faults);
    }
}
