package io.holdfast.schemas.event;

import java.util.List;

/**
 * A VM's image on a host's disk, as written.
 *
 * @param vm name of the VM
 * @param ramBytes size of the VM's RAM
 * @param dataBytes bytes of RAM that are not holes
 * @param files the image's files
 */
public record VmImage(String vm, long ramBytes, long dataBytes, List<ImageFile> files) {
    public VmImage {
        files = List.copyOf(files);
    }

    /**
     * One file of an image.
     *
     * @param name file name within the image folder
     * @param bytes logical size
     * @param sha256 digest in hex, or null for {@code ram.img} (its chunks carry digests in the repository)
     */
    public record ImageFile(String name, long bytes, String sha256) {}
}
