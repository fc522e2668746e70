package io.holdfast.schemas.event;

/**
 * A VM's part of a checkpoint in the repository.
 *
 * @param vm name of the VM
 * @param manifestKey S3 key of the VM manifest
 * @param manifestSha256 its digest in hex
 */
public record VmArchive(String vm, String manifestKey, String manifestSha256) {}
