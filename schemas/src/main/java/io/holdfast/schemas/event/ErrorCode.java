package io.holdfast.schemas.event;

/** Every error that Holdfast reports has one of these codes. Codes are never reused or renamed. */
public enum ErrorCode {
    /** The event is not a valid CloudEvent or its data is not valid for its type. */
    INVALID_EVENT,
    /** The network spec has errors. */
    INVALID_SPEC,
    /** No instance of that name is known. */
    UNKNOWN_INSTANCE,
    /** No checkpoint of that id is known. */
    UNKNOWN_CHECKPOINT,
    /** An instance of that name exists already. */
    INSTANCE_EXISTS,
    /** Another operation is at work on the instance. */
    INSTANCE_BUSY,
    /** The instance is not in a state that allows this. */
    INSTANCE_NOT_RUNNING,
    /** A host named or needed is unknown or has not been heard of lately. */
    HOST_UNAVAILABLE,
    /** No placement fits the hosts' memory. */
    NO_CAPACITY,
    /** A phase did not end in its time. */
    PHASE_TIMEOUT,
    /** The operation's epoch is older than one that the host has seen. */
    STALE_EPOCH,
    /** The command came later than the time at which it was to act. */
    TOO_LATE,
    /** The host's clock and the coordinator's differ by more than is tolerated. */
    CLOCK_SKEW,
    /** A file named in the spec is missing or may not be used. */
    FILE_UNAVAILABLE,
    /** The host cannot take this: QEMU, CPU model or machine type does not fit. */
    INCOMPATIBLE_HOST,
    /** The image folder has too little space. */
    NO_SPACE,
    /** A VM has ended or does not answer. */
    VM_DEAD,
    /** QEMU refused or failed. */
    QEMU_FAILED,
    /** The network of an instance could not be built. */
    NETWORK_FAILED,
    /** A marker frame of a peer did not come within the cut's limit. */
    COOKIE_MISSING,
    /** Frames that had passed the gate were not read by QEMU within the cut's limit. */
    FRAMES_UNDELIVERED,
    /** More frames were in flight than a gate can hold. */
    HOLD_OVERFLOW,
    /** The snapshot stream ended early or has an unknown form. */
    STREAM_BROKEN,
    /** Reading or writing a local file failed. */
    IO_FAILED,
    /** The repository cannot be reached or refused. */
    REPOSITORY_UNAVAILABLE,
    /** The bucket is full or its quota is used up. */
    REPOSITORY_FULL,
    /** An object of the repository is missing, broken or of an unknown version. */
    REPOSITORY_CORRUPT,
    /** The repository's key is missing, is another one, or is given for a repository without encryption. */
    WRONG_KEY,
    /** Another operation that may not run beside this one is at work on the repository or the checkpoint. */
    REPOSITORY_BUSY,
    /** The checkpoint is held, or the bucket locks its objects. */
    CHECKPOINT_HELD,
    /** The operation was given up because another part of it failed. */
    ABORTED,
    /** The process restarted while it was at work and could not go on. */
    INTERRUPTED,
    /** An error of Holdfast itself. */
    INTERNAL
}
