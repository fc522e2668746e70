package io.holdfast.cli;

import io.holdfast.schemas.event.Problem;
import java.util.List;
import java.util.stream.Collectors;

/** The coordinator did not do what was asked. */
public final class ApiException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What kind of refusal; each has an exit code of its own. */
    public enum Kind {
        /** The operation ran and failed. */
        FAILED(1),
        /** The request was refused and nothing was changed. */
        REJECTED(3),
        /** No coordinator answers. */
        UNREACHABLE(4),
        /** There is no such thing. */
        NOT_FOUND(5),
        /** It did not end in the time given; it may still go on. */
        TIMEOUT(6),
        /** The coordinator answered what this client does not understand. */
        INTERNAL(70);

        private final int exitCode;

        Kind(int exitCode) {
            this.exitCode = exitCode;
        }

        /** Exit status of the command. */
        public int exitCode() {
            return exitCode;
        }
    }

    private final Kind kind;
    private final transient List<Problem> problems;

    public ApiException(Kind kind, String message, List<Problem> problems, Throwable cause) {
        super(message, cause);
        this.kind = kind;
        this.problems = List.copyOf(problems);
    }

    public ApiException(Kind kind, String message) {
        this(kind, message, List.of(), null);
    }

    /** An answer that lists problems. */
    static ApiException of(Kind kind, List<Problem> problems) {
        return new ApiException(
                kind, problems.stream().map(ApiException::text).collect(Collectors.joining("\n")), problems, null);
    }

    /** One problem for people, on a line or two. */
    static String text(Problem p) {
        String where = p.field() == null || p.field().isEmpty() ? "" : p.field() + ": ";
        String remedy = p.remedy() == null || p.remedy().isEmpty() ? "" : "\n  -> " + p.remedy();
        return p.code() + ": " + where + p.message() + remedy;
    }

    public Kind kind() {
        return kind;
    }

    /** What was wrong, may be empty. */
    public List<Problem> problems() {
        return problems;
    }
}
