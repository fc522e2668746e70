package io.holdfast.agent.qemu;

import io.holdfast.agent.domain.AgentException;
import io.holdfast.agent.image.ImageFolder;

/**
 * How an image gets into a QEMU that waits for it. {@link PrecopyFeed} sends all RAM before the VM may run; a post-copy page server that lets
 * the VM run at once has its place behind this interface.
 */
interface RestartFeed {
    /**
     * Feeds the image. Returns when the VM may run.
     *
     * @throws AgentException if QEMU refuses the image or ends
     */
    void feed(QemuVm vm, ImageFolder image) throws AgentException;
}
