package io.holdfast.agent.domain;

import io.holdfast.schemas.event.ErrorCode;

/** A command that the agent refuses or that failed. Carries what the report says. */
public final class AgentException extends Exception {
    private static final long serialVersionUID = 1;
    private final ErrorCode code;
    private final String remedy;

    public AgentException(ErrorCode code, String message, String remedy) {
        this(code, message, remedy, null);
    }

    public AgentException(ErrorCode code, String message, String remedy, Throwable cause) {
        super(message, cause);
        this.code = code;
        this.remedy = remedy;
    }

    public ErrorCode code() {
        return code;
    }

    public String remedy() {
        return remedy;
    }
}
