package io.holdfast.schemas.event;

import java.util.List;

/**
 * A VM's image on a host's disk, as written.
 *
 * @param vm name of the VM
 * @param ramBytes size of the VM's RAM
 * @param dataBytes bytes of RAM that are not holes
 * @param files the image's files
 * @param capture how it was taken; null for an image that was not taken from a running VM
 */
public record VmImage(String vm, long ramBytes, long dataBytes, List<ImageFile> files, Capture capture) {
    public VmImage {
        files = List.copyOf(files);
    }

    /**
     * How long the image took after the cut, while the VM ran.
     *
     * @param streamMicros from the moment that the VM was run until QEMU had given everything, microseconds
     * @param stalledMicros how long the host's stage had no room: for so long a guest that wrote to a page which was not taken yet waited
     *     for the disk
     * @param durableMicros from the moment that the snapshot was armed until the image was on the disk
     * @param copiedBytes pages that the guest was about to write to and that were copied for that, before the stream had them
     */
    public record Capture(long streamMicros, long stalledMicros, long durableMicros, long copiedBytes) {}

    /**
     * One file of an image.
     *
     * @param name file name within the image folder
     * @param bytes logical size
     * @param sha256 digest in hex, or null for {@code ram.img} (its chunks carry digests in the repository)
     */
    public record ImageFile(String name, long bytes, String sha256) {}
}
