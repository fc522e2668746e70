package io.holdfast.agent.domain;

import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import java.util.List;

/** The host's image folder. */
public interface ImageStore {
    /** Makes an empty image; refuses when the space is short. */
    Image create(String checkpoint, InstanceLayout layout, String vm) throws AgentException;

    /** Opens a complete image and checks its digests and limits. */
    Image open(String checkpoint, String vm) throws AgentException;

    /** Free bytes of the image folder less what prepared images have reserved. */
    long freeBytes();

    /** Removes a checkpoint's images. Idempotent. */
    void delete(String checkpoint) throws AgentException;

    /**
     * Removes complete images of that instance which the storage service has archived (file {@code archived} in the VM's
     * image folder), but for the newest {@code keep} checkpoints. Never touches others. Called before a new image is made.
     */
    void prune(String instance, int keep) throws AgentException;

    /** Checkpoints whose images are here. */
    List<String> present();

    /** Stores the host's figures beside the images, for inspection. */
    void writeFigures(String checkpoint, CutFigures.HostCut figures) throws AgentException;
}
