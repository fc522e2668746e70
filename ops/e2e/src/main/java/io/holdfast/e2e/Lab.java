package io.holdfast.e2e;

import java.net.URI;
import java.nio.file.Path;
import java.util.Map;

/**
 * A running stack as demo, tests and benches see it.
 *
 * @param coordinator base of the coordinator's REST interface
 * @param bootstrap Kafka's {@code bootstrap.servers}
 * @param guest folder with {@code vmlinuz} and {@code initrd.gz}
 * @param home the dev stack's folder: its {@code stack.json}, and what its servers keep
 * @param hosts host name to its folders
 */
public record Lab(URI coordinator, String bootstrap, Path guest, Path home, Map<String, Host> hosts) {
    /**
     * A host of the stack; its files are on this machine.
     *
     * @param state the agent's state folder
     * @param images folder that agent and storage service share
     * @param netns name of the host's network namespace
     */
    public record Host(String name, Path state, Path images, String netns) {}

    /** The console log of a VM. */
    public Path console(String host, String instance, String vm) {
        return hosts.get(host)
                .state()
                .resolve("instances")
                .resolve(instance)
                .resolve("vms")
                .resolve(vm)
                .resolve("console.log");
    }
}
