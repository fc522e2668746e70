package io.holdfast.agent.image;

import java.io.IOException;

/** A stream or a file does not have the form that it must have. The message says where and what. */
public final class StreamException extends IOException {
    private static final long serialVersionUID = 1;

    public StreamException(String message) {
        super(message);
    }

    public StreamException(String message, Throwable cause) {
        super(message, cause);
    }
}
