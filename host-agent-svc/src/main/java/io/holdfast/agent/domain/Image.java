package io.holdfast.agent.domain;

import io.holdfast.schemas.event.VmImage;
import java.nio.file.Path;
import java.util.List;

/** One VM's image folder, {@code IMAGES/<checkpoint>/<vm>/}. See docs/formats.md. */
public interface Image {
    String checkpoint();

    String vm();

    Path folder();

    /** Saves a NIC's frames in flight as {@code frames-<nic>.pcapng}, fsynced. */
    void writeFrames(int nic, String segment, List<Frame> frames) throws AgentException;

    /** Frames in flight of a NIC, empty when there were none. */
    List<Frame> readFrames(int nic) throws AgentException;

    /** Writes {@code machine.json} last, fsyncs the folder and tells digests. */
    VmImage seal() throws AgentException;
}
