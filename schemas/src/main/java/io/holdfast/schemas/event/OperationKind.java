package io.holdfast.schemas.event;

/** What an operation does. The first four are about an instance, the others about the repository. */
public enum OperationKind {
    deploy,
    checkpoint,
    restore,
    destroy,
    verify,
    forget,
    prune,
    hold,
    release,
    stats,
    rebuild;

    /** Whether it is about the repository: such an operation has no instance. */
    public boolean ofRepository() {
        return compareTo(verify) >= 0;
    }

    /**
     * Whether it deletes or rewrites objects that another operation may be looking at: only one of these is at work on a
     * repository at a time.
     */
    public boolean exclusive() {
        return this == forget || this == prune || this == rebuild;
    }
}
