package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;

/** A command that the storage service refuses or that failed. Names the object or file; carries what the report says. */
public final class StorageException extends Exception {
    private static final long serialVersionUID = 1;
    private final ErrorCode code;
    private final String remedy;

    public StorageException(ErrorCode code, String message, String remedy) {
        this(code, message, remedy, null);
    }

    public StorageException(ErrorCode code, String message, String remedy, Throwable cause) {
        super(message, cause);
        this.code = code;
        this.remedy = remedy;
    }

    /** An object of the repository that is not what it must be. */
    public static StorageException corrupt(String object, String what) {
        return new StorageException(
                ErrorCode.REPOSITORY_CORRUPT,
                "object " + object + ": " + what,
                "restore the object from a copy of the bucket, or use another checkpoint");
    }

    public ErrorCode code() {
        return code;
    }

    public String remedy() {
        return remedy;
    }
}
