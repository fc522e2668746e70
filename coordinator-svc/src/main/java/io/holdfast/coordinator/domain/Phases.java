package io.holdfast.coordinator.domain;

/** Names of the phases, as events, reports, configuration and metrics show them. */
public final class Phases {
    public static final String DEPLOY = "deploy";
    public static final String PREPARE = "prepare";
    public static final String CUT = "cut";
    public static final String WRITE = "write";
    public static final String ARCHIVE = "archive";
    public static final String COMMIT = "commit";
    public static final String CLEAR = "clear";
    public static final String PULL = "pull";
    public static final String LOAD = "load";
    public static final String RESUME = "resume";
    public static final String DESTROY = "destroy";
    public static final String ABORT = "abort";
    public static final String UNDO = "undo";

    public static final String VERIFY = "verify";
    public static final String FORGET = "forget";
    public static final String PRUNE = "prune";
    public static final String HOLD = "hold";
    public static final String RELEASE = "release";
    public static final String STATS = "stats";
    public static final String REBUILD = "rebuild";

    private Phases() {}
}
