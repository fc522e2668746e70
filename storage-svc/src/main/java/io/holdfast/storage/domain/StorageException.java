package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;

/** A command that the storage service refuses or that failed. Names the object or file; carries what the report says. */
public final class StorageException extends Exception {
    private static final long serialVersionUID = 1;
    private static final String CORRUPT_REMEDY =
            "restore the object from a copy of the bucket, or use another checkpoint";
    private final ErrorCode code;
    private final String remedy;
    private final boolean missing;

    public StorageException(ErrorCode code, String message, String remedy) {
        this(code, message, remedy, null);
    }

    public StorageException(ErrorCode code, String message, String remedy, Throwable cause) {
        this(code, message, remedy, cause, false);
    }

    private StorageException(ErrorCode code, String message, String remedy, Throwable cause, boolean missing) {
        super(message, cause);
        this.code = code;
        this.remedy = remedy;
        this.missing = missing;
    }

    /** An object of the repository that is not there. */
    public static StorageException missing(String object) {
        return new StorageException(
                ErrorCode.REPOSITORY_CORRUPT, "object " + object + ": is missing", CORRUPT_REMEDY, null, true);
    }

    /** Whether the object is not there at all. */
    public boolean isMissing() {
        return missing;
    }

    /** An object of the repository that is not what it must be. */
    public static StorageException corrupt(String object, String what) {
        return new StorageException(ErrorCode.REPOSITORY_CORRUPT, "object " + object + ": " + what, CORRUPT_REMEDY);
    }

    public ErrorCode code() {
        return code;
    }

    public String remedy() {
        return remedy;
    }
}
