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

    /** Checkpoints whose images are here. */
    List<String> present();

    /** Stores the host's figures beside the images, for inspection. */
    void writeFigures(String checkpoint, CutFigures.HostCut figures) throws AgentException;
}
