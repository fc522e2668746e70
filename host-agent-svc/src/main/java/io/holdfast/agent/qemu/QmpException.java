package io.holdfast.agent.qemu;

import java.io.IOException;

/** QEMU refused a QMP command, does not answer, or is gone. */
final class QmpException extends IOException {
    private static final long serialVersionUID = 1;

    /** What went wrong. */
    enum Kind {
        /** QEMU answered with an error. */
        REFUSED,
        /** No answer in time. */
        TIMEOUT,
        /** It could not be said; QEMU has not heard of it and is as it was. */
        UNSENT,
        /** The connection has ended: QEMU is gone, or let go. */
        CLOSED
    }

    private final Kind kind;

    QmpException(Kind kind, String message) {
        super(message);
        this.kind = kind;
    }

    Kind kind() {
        return kind;
    }
}
