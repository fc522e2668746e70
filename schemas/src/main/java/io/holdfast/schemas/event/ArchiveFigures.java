package io.holdfast.schemas.event;

/**
 * What one host's archive step moved.
 *
 * @param logicalBytes bytes of the images, holes included
 * @param dataBytes bytes that are not holes or zero
 * @param newBytes bytes of chunks that the repository lacked, before compression
 * @param storedBytes bytes uploaded
 * @param durationMillis time it took
 */
public record ArchiveFigures(
        String host, long logicalBytes, long dataBytes, long newBytes, long storedBytes, long durationMillis) {}
