package io.holdfast.agent.nat;

import java.io.IOException;
import java.io.Serial;

/** A native call failed. Carries errno and its name, such as ENOENT. */
public final class NativeException extends IOException {
    @Serial
    private static final long serialVersionUID = 1;

    private final int errno;

    public NativeException(String what, int errno) {
        super(what + ": " + Errno.name(errno) + " (" + Errno.text(errno) + ")");
        this.errno = errno;
    }

    /** The positive errno. Compare with the constants of {@link Errno}. */
    public int errno() {
        return errno;
    }

    /** Its name, such as ENOENT. */
    public String errnoName() {
        return Errno.name(errno);
    }
}
