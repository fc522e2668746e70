package io.holdfast.agent.app;

import io.holdfast.agent.domain.ImageStore;
import java.nio.file.Path;
import java.time.Duration;

/**
 * What the application logic needs of the configuration.
 *
 * @param host this host's id
 * @param underlay IP address that VXLAN uses
 * @param version version of this agent
 * @param stateDir state folder; holds {@code instances/} and {@code commands/}
 * @param keep archived images that stay on this host
 * @param pruneEvery time between two looks for those that do not stay
 * @param prepareLimit a prepared checkpoint is given up when no cut came in that time
 * @param writeLimit longest time that writing an image may take after the cut
 * @param runLimit longest wait for a VM's answer to {@code cont}
 * @param parallelism VMs that are started or loaded side by side
 * @param commandRetention finished commands are remembered that long
 * @param commandMaxAge commands older than that are refused (but destroy and abort)
 * @param clockTolerance a checkpoint's commands that come longer than that before they were sent are refused
 */
public record AgentSettings(
        String host,
        String underlay,
        String version,
        Path stateDir,
        ImageStore.Keep keep,
        Duration pruneEvery,
        Duration prepareLimit,
        Duration writeLimit,
        Duration runLimit,
        int parallelism,
        Duration commandRetention,
        Duration commandMaxAge,
        Duration clockTolerance) {
    /** Folder of the instances. */
    public Path instancesDir() {
        return stateDir.resolve("instances");
    }

    /** Folder of the command journal. */
    public Path commandsDir() {
        return stateDir.resolve("commands");
    }
}
