package io.holdfast.schemas.event;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** Every type of CloudEvent that Holdfast knows: its name, its topic and the record of its data. */
public enum EventType {
    REQUEST_DEPLOY("io.holdfast.request.deploy.v1", Topics.REQUESTS, Request.Deploy.class),
    REQUEST_CHECKPOINT("io.holdfast.request.checkpoint.v1", Topics.REQUESTS, Request.Checkpoint.class),
    REQUEST_RESTORE("io.holdfast.request.restore.v1", Topics.REQUESTS, Request.Restore.class),
    REQUEST_DESTROY("io.holdfast.request.destroy.v1", Topics.REQUESTS, Request.Destroy.class),
    REQUEST_VERIFY("io.holdfast.request.verify.v1", Topics.REQUESTS, Request.Verify.class),
    REQUEST_FORGET("io.holdfast.request.forget.v1", Topics.REQUESTS, Request.Forget.class),
    REQUEST_PRUNE("io.holdfast.request.prune.v1", Topics.REQUESTS, Request.Prune.class),
    REQUEST_HOLD("io.holdfast.request.hold.v1", Topics.REQUESTS, Request.Hold.class),
    REQUEST_RELEASE("io.holdfast.request.release.v1", Topics.REQUESTS, Request.Release.class),
    REQUEST_STATS("io.holdfast.request.stats.v1", Topics.REQUESTS, Request.Stats.class),
    REQUEST_REBUILD("io.holdfast.request.rebuild.v1", Topics.REQUESTS, Request.Rebuild.class),

    OPERATION_ACCEPTED("io.holdfast.operation.accepted.v1", Topics.EVENTS, PublicEvent.Accepted.class),
    OPERATION_REJECTED("io.holdfast.operation.rejected.v1", Topics.EVENTS, PublicEvent.Rejected.class),
    OPERATION_PROGRESSED("io.holdfast.operation.progressed.v1", Topics.EVENTS, PublicEvent.Progressed.class),
    OPERATION_FAILED("io.holdfast.operation.failed.v1", Topics.EVENTS, PublicEvent.Failed.class),
    DEPLOY_COMPLETED("io.holdfast.deploy.completed.v1", Topics.EVENTS, PublicEvent.DeployCompleted.class),
    CHECKPOINT_COMPLETED("io.holdfast.checkpoint.completed.v1", Topics.EVENTS, PublicEvent.CheckpointCompleted.class),
    RESTORE_COMPLETED("io.holdfast.restore.completed.v1", Topics.EVENTS, PublicEvent.RestoreCompleted.class),
    DESTROY_COMPLETED("io.holdfast.destroy.completed.v1", Topics.EVENTS, PublicEvent.DestroyCompleted.class),
    VERIFY_COMPLETED("io.holdfast.verify.completed.v1", Topics.EVENTS, PublicEvent.VerifyCompleted.class),
    FORGET_COMPLETED("io.holdfast.forget.completed.v1", Topics.EVENTS, PublicEvent.ForgetCompleted.class),
    PRUNE_COMPLETED("io.holdfast.prune.completed.v1", Topics.EVENTS, PublicEvent.PruneCompleted.class),
    HOLD_COMPLETED("io.holdfast.hold.completed.v1", Topics.EVENTS, PublicEvent.HoldCompleted.class),
    RELEASE_COMPLETED("io.holdfast.release.completed.v1", Topics.EVENTS, PublicEvent.ReleaseCompleted.class),
    STATS_COMPLETED("io.holdfast.stats.completed.v1", Topics.EVENTS, PublicEvent.StatsCompleted.class),
    REBUILD_COMPLETED("io.holdfast.rebuild.completed.v1", Topics.EVENTS, PublicEvent.RebuildCompleted.class),
    VM_EXITED("io.holdfast.vm.exited.v1", Topics.EVENTS, PublicEvent.VmExited.class),

    COMMAND_DEPLOY("io.holdfast.command.deploy.v1", Topics.COMMANDS, Command.Deploy.class),
    COMMAND_PREPARE("io.holdfast.command.prepare.v1", Topics.COMMANDS, Command.Prepare.class),
    COMMAND_CUT("io.holdfast.command.cut.v1", Topics.COMMANDS, Command.Cut.class),
    COMMAND_ABORT("io.holdfast.command.abort.v1", Topics.COMMANDS, Command.Abort.class),
    COMMAND_LOAD("io.holdfast.command.load.v1", Topics.COMMANDS, Command.Load.class),
    COMMAND_RESUME("io.holdfast.command.resume.v1", Topics.COMMANDS, Command.Resume.class),
    COMMAND_DESTROY("io.holdfast.command.destroy.v1", Topics.COMMANDS, Command.Destroy.class),
    COMMAND_ARCHIVE("io.holdfast.command.archive.v1", Topics.COMMANDS, Command.Archive.class),
    COMMAND_COMMIT("io.holdfast.command.commit.v1", Topics.COMMANDS, Command.Commit.class),
    COMMAND_PULL("io.holdfast.command.pull.v1", Topics.COMMANDS, Command.Pull.class),
    COMMAND_VERIFY("io.holdfast.command.verify.v1", Topics.COMMANDS, Command.Verify.class),
    COMMAND_FORGET("io.holdfast.command.forget.v1", Topics.COMMANDS, Command.Forget.class),
    COMMAND_PRUNE("io.holdfast.command.prune.v1", Topics.COMMANDS, Command.Prune.class),
    COMMAND_HOLD("io.holdfast.command.hold.v1", Topics.COMMANDS, Command.Hold.class),
    COMMAND_RELEASE("io.holdfast.command.release.v1", Topics.COMMANDS, Command.Release.class),
    COMMAND_STATS("io.holdfast.command.stats.v1", Topics.COMMANDS, Command.Stats.class),
    COMMAND_REBUILD("io.holdfast.command.rebuild.v1", Topics.COMMANDS, Command.Rebuild.class),

    REPORT_DEPLOYED("io.holdfast.report.deployed.v1", Topics.REPORTS, Report.Deployed.class),
    REPORT_PREPARED("io.holdfast.report.prepared.v1", Topics.REPORTS, Report.Prepared.class),
    REPORT_CUT("io.holdfast.report.cut.v1", Topics.REPORTS, Report.CutDone.class),
    REPORT_WRITTEN("io.holdfast.report.written.v1", Topics.REPORTS, Report.Written.class),
    REPORT_ABORTED("io.holdfast.report.aborted.v1", Topics.REPORTS, Report.Aborted.class),
    REPORT_LOADED("io.holdfast.report.loaded.v1", Topics.REPORTS, Report.Loaded.class),
    REPORT_RESUMED("io.holdfast.report.resumed.v1", Topics.REPORTS, Report.Resumed.class),
    REPORT_DESTROYED("io.holdfast.report.destroyed.v1", Topics.REPORTS, Report.Destroyed.class),
    REPORT_ARCHIVED("io.holdfast.report.archived.v1", Topics.REPORTS, Report.Archived.class),
    REPORT_COMMITTED("io.holdfast.report.committed.v1", Topics.REPORTS, Report.Committed.class),
    REPORT_PULLED("io.holdfast.report.pulled.v1", Topics.REPORTS, Report.Pulled.class),
    REPORT_VERIFIED("io.holdfast.report.verified.v1", Topics.REPORTS, Report.Verified.class),
    REPORT_FORGOTTEN("io.holdfast.report.forgotten.v1", Topics.REPORTS, Report.Forgotten.class),
    REPORT_PRUNED("io.holdfast.report.pruned.v1", Topics.REPORTS, Report.Pruned.class),
    REPORT_HELD("io.holdfast.report.held.v1", Topics.REPORTS, Report.Held.class),
    REPORT_RELEASED("io.holdfast.report.released.v1", Topics.REPORTS, Report.Released.class),
    REPORT_COUNTED("io.holdfast.report.counted.v1", Topics.REPORTS, Report.Counted.class),
    REPORT_FOUND("io.holdfast.report.found.v1", Topics.REPORTS, Report.Found.class),
    REPORT_REBUILT("io.holdfast.report.rebuilt.v1", Topics.REPORTS, Report.Rebuilt.class),
    REPORT_FAILED("io.holdfast.report.failed.v1", Topics.REPORTS, Report.Failed.class),
    REPORT_PROGRESS("io.holdfast.report.progress.v1", Topics.REPORTS, Report.Progress.class),

    HOST_AGENT("io.holdfast.host.agent.v1", Topics.HOSTS, Heartbeat.Agent.class),
    HOST_STORAGE("io.holdfast.host.storage.v1", Topics.HOSTS, Heartbeat.Storage.class),

    CATALOG_CHECKPOINT("io.holdfast.catalog.checkpoint.v1", Topics.CATALOG, CheckpointManifest.class);

    private static final Map<String, EventType> BY_NAME =
            Arrays.stream(values()).collect(Collectors.toMap(EventType::typeName, Function.identity()));
    private static final Map<Class<?>, EventType> BY_CLASS =
            Arrays.stream(values()).collect(Collectors.toMap(EventType::dataClass, Function.identity()));

    private final String typeName;
    private final String topic;
    private final Class<?> dataClass;

    EventType(String typeName, String topic, Class<?> dataClass) {
        this.typeName = typeName;
        this.topic = topic;
        this.dataClass = dataClass;
    }

    /** The CloudEvents {@code type} attribute. */
    public String typeName() {
        return typeName;
    }

    /** The topic that carries it, see {@link Topics}. */
    public String topic() {
        return topic;
    }

    /** Name of the JSON Schema file of the data, in {@code io/holdfast/schemas/}. */
    public String schemaFile() {
        return typeName + ".schema.json";
    }

    /** The record of the event's data. */
    public Class<?> dataClass() {
        return dataClass;
    }

    /** The type of that name, if known. */
    public static Optional<EventType> named(String typeName) {
        return Optional.ofNullable(BY_NAME.get(typeName));
    }

    /** The type of that data. */
    public static EventType of(Object data) {
        EventType type = BY_CLASS.get(data.getClass());
        if (type == null) {
            throw new IllegalArgumentException("no event type for " + data.getClass());
        }
        return type;
    }
}
