package io.holdfast.storage.app;

import java.nio.file.Path;

/**
 * How the repository is worked with.
 *
 * @param host this host's id
 * @param images the image folder that the host agent uses too
 * @param state this service's own folder
 * @param chunkBytes size of chunks for a repository that this service makes
 * @param packBytes a pack is uploaded from that size on
 * @param workers threads that hash and compress
 * @param transfers uploads, or reads, at a time
 */
public record Settings(
        String host, Path images, Path state, int chunkBytes, int packBytes, int workers, int transfers) {}
