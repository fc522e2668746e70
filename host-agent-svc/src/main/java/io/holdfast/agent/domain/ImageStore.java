package io.holdfast.agent.domain;

import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.InstanceLayout;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;

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
     * Which archived images stay.
     *
     * @param newest so many checkpoints of an instance, the newest ones
     * @param unused those only that long after they were last used, when nothing of the instance is on this host
     * @param claimed a checkpoint that a restore has claimed stays that long, if the restore does not end before
     */
    record Keep(int newest, Duration unused, Duration claimed) {}

    /**
     * Removes complete images which the storage service has archived (file {@code archived} in the VM's image folder), but
     * for those to keep. Never touches others, nor checkpoints that a restore has claimed: the storage service does that for
     * it before it looks what it has to pull. One that cannot be removed is logged and stays.
     *
     * @param here names of the instances of this host
     * @param inUse checkpoints that stay in any case
     * @return the checkpoints removed
     */
    List<String> prune(Keep keep, Set<String> here, Set<String> inUse, Instant now);

    /** A restore is over: what it claimed is not kept for it any more. Idempotent. */
    void unclaim(String operation);

    /** Checkpoints whose images are here. */
    List<String> present();

    /** Stores the host's figures beside the images, for inspection. */
    void writeFigures(String checkpoint, CutFigures.HostCut figures) throws AgentException;
}
