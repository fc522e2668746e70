package io.holdfast.schemas.event;

import java.util.List;

/** An event from outside is not what its type says. Carries every problem found. */
public final class InvalidEventException extends Exception {
    private static final long serialVersionUID = 1;
    private final transient List<Problem> problems;

    public InvalidEventException(List<Problem> problems) {
        super(problems.toString());
        this.problems = List.copyOf(problems);
    }

    /** Every problem found, at least one. */
    public List<Problem> problems() {
        return problems;
    }
}
