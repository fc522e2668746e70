package io.holdfast.coordinator.domain;

import io.holdfast.coordinator.domain.Instance.Machine;
import io.holdfast.coordinator.domain.OperationState.Aborting;
import io.holdfast.coordinator.domain.OperationState.Active;
import io.holdfast.coordinator.domain.OperationState.Archiving;
import io.holdfast.coordinator.domain.OperationState.Cause;
import io.holdfast.coordinator.domain.OperationState.Clearing;
import io.holdfast.coordinator.domain.OperationState.Committing;
import io.holdfast.coordinator.domain.OperationState.Completed;
import io.holdfast.coordinator.domain.OperationState.Cutting;
import io.holdfast.coordinator.domain.OperationState.Deploying;
import io.holdfast.coordinator.domain.OperationState.Destroying;
import io.holdfast.coordinator.domain.OperationState.Ended;
import io.holdfast.coordinator.domain.OperationState.Failed;
import io.holdfast.coordinator.domain.OperationState.Forward;
import io.holdfast.coordinator.domain.OperationState.HostArchive;
import io.holdfast.coordinator.domain.OperationState.Loading;
import io.holdfast.coordinator.domain.OperationState.Maintaining;
import io.holdfast.coordinator.domain.OperationState.Preparing;
import io.holdfast.coordinator.domain.OperationState.Pulling;
import io.holdfast.coordinator.domain.OperationState.Resuming;
import io.holdfast.coordinator.domain.OperationState.Retreat;
import io.holdfast.coordinator.domain.OperationState.Retried;
import io.holdfast.coordinator.domain.OperationState.Retry;
import io.holdfast.coordinator.domain.OperationState.Span;
import io.holdfast.coordinator.domain.OperationState.Undoing;
import io.holdfast.coordinator.domain.OperationState.Writing;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.CutFigures;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.PublicEvent.HostFailure;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.spec.Names;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.view.CheckpointView;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The coordinator's decisions: state, input and time give a new state and effects. A pure function: no clock, no random
 * numbers, no input or output; the same arguments give the same answer in every run.
 *
 * <p>Every command has the id {@code operation/host/phase/attempt} and is derived from the journalled state alone, so a
 * command that is sent again (after a crash, or because no answer came) is the same command; only its epoch may be newer.
 */
public final class Decider {
    /** After a restart or stall of the coordinator every phase has at least that long: answers may lie unread in the topic. */
    private static final Duration RECOVERY_GRACE = Duration.ofSeconds(10);

    /** A prepared host gives up by itself after a minute: no cut is set further ahead than a part of that. */
    private static final Duration LONGEST_LEAD = Duration.ofSeconds(10);

    /** What is wrong with the bucket may pass, or be mended by hand. */
    private static final Set<ErrorCode> OF_BUCKET = Set.of(ErrorCode.REPOSITORY_UNAVAILABLE, ErrorCode.REPOSITORY_FULL);

    private static final Duration RESUME_LEAD = Duration.ofMillis(300);

    private final Settings settings;

    public Decider(Settings settings) {
        this.settings = settings;
    }

    /**
     * Decides on one input.
     *
     * @param now the coordinator's time, which never goes back
     */
    public Decision decide(State state, Input input, Instant now) {
        var step = new Step(state, now);
        switch (input) {
            case Input.Requested r -> step.requested(r);
            case Input.Refused r ->
                step.refused(r.requestId(), r.source(), r.kind(), r.instance(), r.problems(), r.trace());
            case Input.Reported r -> step.reported(r.report());
            case Input.Beat b -> step.beat(b.heartbeat(), b.at());
            case Input.Cataloged c ->
                step.checkpoints = Sorted.with(step.checkpoints, c.checkpoint().checkpoint(), c.checkpoint());
            case Input.Uncataloged u -> step.checkpoints = Sorted.without(step.checkpoints, u.checkpoint());
            case Input.Announced a -> step.announced(a.operation());
            case Input.Recovered r -> step.recovered();
            case Input.Stalled s -> step.since = now;
            case Input.Tick t -> step.tick();
        }
        return step.decision();
    }

    /** One decision at work. Maps are replaced, never changed. */
    private final class Step {
        final Instant now;
        final long epoch;
        SortedMap<String, Operation> operations;
        SortedMap<String, Instance> instances;
        SortedMap<String, HostInfo> hosts;
        SortedMap<String, CheckpointView> checkpoints;
        SortedMap<String, Instant> sentAt;
        Instant since;
        final Map<String, Effect.Journal> journal = new LinkedHashMap<>();
        final List<Effect> outward = new ArrayList<>();

        Step(State s, Instant now) {
            this.now = now;
            epoch = s.epoch();
            operations = s.operations();
            instances = s.instances();
            hosts = s.hosts();
            checkpoints = s.checkpoints();
            sentAt = s.sentAt();
            since = s.since();
        }

        Decision decision() {
            var records = new ArrayList<>(journal.values());
            records.sort(Comparator.comparingInt(Step::order));
            var effects = new ArrayList<Effect>(records);
            effects.addAll(outward);
            return new Decision(new State(epoch, operations, instances, hosts, checkpoints, sentAt, since), effects);
        }

        // ---- memory

        /**
         * Records of one decision are written one by one, and a crash may come between two. An operation at work comes
         * before its instance (which {@link #recovered} makes fit), an operation that is over after it: so that as long
         * as the instance is not as it should be, the operation is still at work.
         */
        static int order(Effect.Journal record) {
            return switch (record) {
                case Effect.JournalOperation o -> o.operation().ended() ? 2 : 0;
                case Effect.JournalInstance i -> 1;
                case Effect.Forget f -> f.key().startsWith("instance/") ? 1 : 3;
            };
        }

        /** Makes the instances fit the operations, after a crash between the records of one decision. */
        void mend() {
            for (Operation op : operations.values()) {
                if (op.ended() || op.kind().ofRepository()) {
                    continue;
                }
                Instance i = instances.get(op.instance());
                boolean makes = op.kind() == OperationKind.deploy || op.kind() == OperationKind.restore;
                if (makes && (i == null || !op.id().equals(i.madeBy()))) {
                    put(new Instance(op.instance(), op.layout(), op.id(), op.id(), null, null));
                } else if (i != null && !op.id().equals(i.operation())) {
                    put(i.busy(op.id()));
                }
            }
            for (Instance i : List.copyOf(instances.values())) {
                Operation op = i.operation() == null ? null : operations.get(i.operation());
                if (i.operation() != null && (op == null || op.ended())) {
                    put(i.free());
                }
            }
        }

        void put(Operation op) {
            operations = Sorted.with(operations, op.id(), op);
            var record = new Effect.JournalOperation(op);
            journal.put(record.key(), record);
        }

        void put(Instance instance) {
            instances = Sorted.with(instances, instance.name(), instance);
            var record = new Effect.JournalInstance(instance);
            journal.put(record.key(), record);
        }

        void forgetInstance(String name) {
            instances = Sorted.without(instances, name);
            var record = new Effect.Forget("instance/" + name);
            journal.put(record.key(), record);
        }

        void forgetOperation(String id) {
            operations = Sorted.without(operations, id);
            var record = new Effect.Forget("operation/" + id);
            journal.put(record.key(), record);
        }

        // ---- requests

        void refused(
                String requestId,
                String source,
                OperationKind kind,
                String instance,
                List<Problem> problems,
                Map<String, String> trace) {
            String id = Ids.operation(source, requestId);
            outward.add(new Effect.Publish(
                    id + "/rejected",
                    id,
                    new PublicEvent.Rejected(kind, instance, requestId, source, problems),
                    trace));
        }

        void requested(Input.Requested in) {
            Operation known = operations.get(Ids.operation(in.source(), in.requestId()));
            if (known != null) {
                repeatEvents(known); // a repeat of the request: the same answers, nothing is done twice
                return;
            }
            switch (in.request()) {
                case Request.Deploy d -> deploy(in, d);
                case Request.Checkpoint c -> checkpoint(in, c);
                case Request.Restore r -> restore(in, r);
                case Request.Destroy d -> destroy(in, d);
                case Request.OfRepository r -> maintain(in, r);
            }
        }

        void reject(Input.Requested in, OperationKind kind, String instance, List<Problem> problems) {
            refused(in.requestId(), in.source(), kind, instance, problems, in.trace());
        }

        void reject(
                Input.Requested in,
                OperationKind kind,
                String instance,
                ErrorCode code,
                String message,
                String remedy) {
            reject(in, kind, instance, List.of(new Problem(code, "", message, remedy)));
        }

        /** Whether the name is one; rejects the request otherwise. */
        boolean nameIsValid(Input.Requested in, OperationKind kind, String instance) {
            if (Names.isName(instance)) {
                return true;
            }
            reject(
                    in,
                    kind,
                    instance,
                    List.of(new Problem(
                            ErrorCode.INVALID_EVENT,
                            "/instance",
                            "not a name: '" + instance + "'",
                            "use 1 to 40 lower-case letters, digits and hyphens, with no hyphen at the ends")));
            return false;
        }

        void deploy(Input.Requested in, Request.Deploy d) {
            String name = d.instance() == null ? d.spec().name() : d.instance();
            if (!nameIsValid(in, OperationKind.deploy, name)) {
                return;
            }
            if (instances.containsKey(name)) {
                reject(
                        in,
                        OperationKind.deploy,
                        name,
                        ErrorCode.INSTANCE_EXISTS,
                        "instance " + name + " exists already",
                        "destroy it first, or give the new instance another name");
                return;
            }
            var placed = Placement.place(
                    d.spec(), d.spec().placement(), candidates(null), hosts.keySet(), "/spec/placement");
            if (!placed.problems().isEmpty()) {
                reject(in, OperationKind.deploy, name, placed.problems());
                return;
            }
            String id = Ids.operation(in.source(), in.requestId());
            var layout = new InstanceLayout(name, d.spec(), placed.parts(), vnis(id, d.spec()));
            var op = newOperation(in, id, OperationKind.deploy, name, null, null, null, layout, List.of(), List.of());
            accept(op, new Instance(name, layout, id, id, null, null));
            begin(op, Deploying.begin(span(Phases.DEPLOY), op.hosts()));
        }

        void checkpoint(Input.Requested in, Request.Checkpoint c) {
            Instance instance = known(in, OperationKind.checkpoint, c.instance());
            if (instance == null || busy(in, OperationKind.checkpoint, instance)) {
                return;
            }
            var problems = new ArrayList<Problem>();
            for (String host : instance.hosts()) {
                if (!alive(host)) {
                    problems.add(gone(host));
                }
            }
            for (Machine m : instance.machines().values()) {
                if (m.dead()) {
                    problems.add(new Problem(
                            ErrorCode.VM_DEAD,
                            "",
                            "VM " + m.vm() + " on host " + m.host() + " has ended: " + m.reason(),
                            "restore a checkpoint of the instance, or destroy it and deploy it again"));
                }
            }
            if (problems.isEmpty() && instance.runningSince() == null) {
                problems.add(new Problem(
                        ErrorCode.INSTANCE_NOT_RUNNING,
                        "",
                        "instance " + instance.name() + " does not run",
                        "deploy or restore it"));
            }
            if (!problems.isEmpty()) {
                reject(in, OperationKind.checkpoint, instance.name(), problems);
                return;
            }
            String id = Ids.operation(in.source(), in.requestId());
            var op = newOperation(
                    in,
                    id,
                    OperationKind.checkpoint,
                    instance.name(),
                    Ids.checkpoint(id, now),
                    null,
                    c.label(),
                    instance.layout(),
                    List.of(),
                    List.of());
            accept(op, instance.busy(id));
            begin(op, Preparing.begin(span(Phases.PREPARE), op.hosts(), in.nonce()));
        }

        void restore(Input.Requested in, Request.Restore r) {
            CheckpointView from = checkpoints.get(r.checkpoint());
            if (from == null) {
                reject(
                        in,
                        OperationKind.restore,
                        r.instance(),
                        ErrorCode.UNKNOWN_CHECKPOINT,
                        "no checkpoint " + r.checkpoint() + " is known",
                        "list the checkpoints; one that failed does not exist");
                return;
            }
            String name = r.instance() == null ? from.instance() : r.instance();
            if (!nameIsValid(in, OperationKind.restore, name)) {
                return;
            }
            Instance old = instances.get(name);
            if (old != null && busy(in, OperationKind.restore, old)) {
                return;
            }
            boolean replace = Boolean.TRUE.equals(r.replace());
            if (old != null && !replace && anyRuns(old)) {
                reject(
                        in,
                        OperationKind.restore,
                        name,
                        ErrorCode.INSTANCE_EXISTS,
                        "instance " + name + " exists and VMs of it run",
                        "give the restarted instance another name, or ask for replace");
                return;
            }
            NetworkSpec spec = from.manifest().layout().spec();
            Map<String, String> wanted = r.placement() == null ? Map.of() : r.placement();
            var placed = Placement.place(spec, wanted, candidates(old), hosts.keySet(), "/placement");
            if (!placed.problems().isEmpty()) {
                reject(in, OperationKind.restore, name, placed.problems());
                return;
            }
            String id = Ids.operation(in.source(), in.requestId());
            var layout = new InstanceLayout(name, spec, placed.parts(), vnis(id, spec));
            List<String> clear = old == null ? List.of() : old.hosts();
            var skipped = clear.stream().filter(h -> !agentAlive(h)).toList();
            var op = newOperation(
                    in,
                    id,
                    OperationKind.restore,
                    name,
                    from.checkpoint(),
                    from.manifestKey(),
                    null,
                    layout,
                    clear,
                    skipped);
            accept(op, new Instance(name, layout, id, id, null, null));
            if (clear.isEmpty()) {
                begin(op, new Pulling(span(Phases.PULL), Sorted.set(op.hosts())));
            } else {
                begin(op, new Clearing(span(Phases.CLEAR), minus(clear, skipped), Sorted.set(clear)));
            }
        }

        void destroy(Input.Requested in, Request.Destroy d) {
            Instance instance = known(in, OperationKind.destroy, d.instance());
            if (instance == null || busy(in, OperationKind.destroy, instance)) {
                return;
            }
            var gone = instance.hosts().stream().filter(h -> !agentAlive(h)).toList();
            if (!gone.isEmpty() && !Boolean.TRUE.equals(d.force())) {
                reject(
                        in,
                        OperationKind.destroy,
                        instance.name(),
                        gone.stream()
                                .map(h -> new Problem(
                                        ErrorCode.HOST_UNAVAILABLE,
                                        "",
                                        "host " + h + " has not been heard of lately",
                                        "start its host agent, or ask for force to leave the host out"))
                                .toList());
                return;
            }
            String id = Ids.operation(in.source(), in.requestId());
            var op = newOperation(
                    in,
                    id,
                    OperationKind.destroy,
                    instance.name(),
                    null,
                    null,
                    null,
                    instance.layout(),
                    List.of(),
                    gone);
            accept(op, instance.busy(id));
            begin(op, Destroying.begin(span(Phases.DESTROY), minus(op.hosts(), gone)));
        }

        Instance known(Input.Requested in, OperationKind kind, String name) {
            Instance instance = name == null ? null : instances.get(name);
            if (instance == null) {
                reject(
                        in,
                        kind,
                        name,
                        ErrorCode.UNKNOWN_INSTANCE,
                        "no instance " + name + " is known",
                        "list the instances");
            }
            return instance;
        }

        boolean busy(Input.Requested in, OperationKind kind, Instance instance) {
            if (instance.operation() == null) {
                return false;
            }
            Operation at = operations.get(instance.operation());
            reject(
                    in,
                    kind,
                    instance.name(),
                    ErrorCode.INSTANCE_BUSY,
                    "operation " + instance.operation() + (at == null ? "" : " (" + at.kind() + ")")
                            + " is at work on instance " + instance.name(),
                    "ask again when it is over");
            return true;
        }

        Operation newOperation(
                Input.Requested in,
                String id,
                OperationKind kind,
                String instance,
                String checkpoint,
                String manifestKey,
                String label,
                InstanceLayout layout,
                List<String> clear,
                List<String> skipped) {
            return new Operation(
                    id,
                    kind,
                    instance,
                    in.requestId(),
                    in.source(),
                    in.trace(),
                    now,
                    checkpoint,
                    manifestKey,
                    label,
                    layout,
                    clear,
                    skipped,
                    null,
                    Sorted.map(null),
                    null);
        }

        // ---- requests about the repository

        void maintain(Input.Requested in, Request.OfRepository request) {
            OperationKind kind = RepositoryTask.kind(request);
            List<String> inUse = operations.values().stream()
                    .filter(o -> !o.ended() && o.kind() == OperationKind.restore)
                    .map(Operation::checkpoint)
                    .distinct()
                    .toList();
            List<Problem> problems = problems(request, inUse);
            if (!problems.isEmpty()) {
                reject(in, kind, null, problems);
                return;
            }
            Operation other = !kind.exclusive()
                    ? null
                    : operations.values().stream()
                            .filter(o -> !o.ended() && o.kind().exclusive())
                            .findFirst()
                            .orElse(null);
            if (other != null) {
                reject(
                        in,
                        kind,
                        null,
                        ErrorCode.REPOSITORY_BUSY,
                        "operation " + other.id() + " (" + other.kind() + ") is at work on the repository",
                        "ask again when it is over");
                return;
            }
            String host = keeper();
            if (host == null) {
                reject(
                        in,
                        kind,
                        null,
                        ErrorCode.HOST_UNAVAILABLE,
                        "no storage service that reaches the bucket has been heard of lately",
                        "start one, and see whether its bucket answers");
                return;
            }
            RepositoryTask task = RepositoryTask.of(request, inUse);
            var op = new Operation(
                    Ids.operation(in.source(), in.requestId()),
                    kind,
                    null,
                    in.requestId(),
                    in.source(),
                    in.trace(),
                    now,
                    task.checkpoint(),
                    null,
                    null,
                    null,
                    List.of(),
                    List.of(),
                    task,
                    Sorted.map(null),
                    null);
            accept(op, null);
            begin(op, new Maintaining(span(kind.name()), Sorted.set(List.of(host)), kind.name()));
        }

        /** What is wrong with a request about the repository, as far as can be told here. */
        List<Problem> problems(Request.OfRepository request, List<String> inUse) {
            var found = new ArrayList<Problem>();
            switch (request) {
                case Request.Verify v when v.checkpoint() != null -> known(v.checkpoint(), "/checkpoint", found);
                case Request.Hold h -> {
                    known(h.checkpoint(), "/checkpoint", found);
                    if (h.until() != null && !h.until().isAfter(now)) {
                        found.add(new Problem(
                                ErrorCode.INVALID_EVENT,
                                "/until",
                                h.until() + " is over: nothing would be locked",
                                "give a time to come, or none to hold it until it is released"));
                    }
                }
                case Request.Forget f -> {
                    boolean named = f.checkpoints() != null && !f.checkpoints().isEmpty();
                    if (named == (f.keep() != null)) {
                        found.add(new Problem(
                                ErrorCode.INVALID_EVENT,
                                "",
                                "a forget needs either checkpoints or a policy, and not both",
                                "give /checkpoints or /keep"));
                    } else if (f.keep() != null && f.keep().keepsNothing()) {
                        found.add(new Problem(
                                ErrorCode.INVALID_EVENT,
                                "/keep",
                                "the policy would keep nothing",
                                "give at least one of last, hourly, daily, weekly, monthly"));
                    }
                    if (named && f.instance() != null) {
                        found.add(new Problem(
                                ErrorCode.INVALID_EVENT,
                                "/instance",
                                "an instance goes with a policy; checkpoints are named one by one",
                                "leave /instance out, or give /keep instead of /checkpoints"));
                    }
                    for (int i = 0; named && i < f.checkpoints().size(); i++) {
                        String id = f.checkpoints().get(i);
                        // the catalog may lack it, as one whose manifest a rebuild could not read
                        if (!Names.isName(id)) {
                            found.add(new Problem(
                                    ErrorCode.INVALID_EVENT,
                                    "/checkpoints/" + i,
                                    "not a name: " + Names.quote(id),
                                    "list the checkpoints; verify and rebuild name damaged ones"));
                        }
                        if (operations.values().stream()
                                .anyMatch(o -> !o.ended()
                                        && o.kind() == OperationKind.checkpoint
                                        && id.equals(o.checkpoint()))) {
                            found.add(new Problem(
                                    ErrorCode.REPOSITORY_BUSY,
                                    "/checkpoints/" + i,
                                    "checkpoint " + id + " is being taken",
                                    "ask again when its operation has ended"));
                        }
                        if (inUse.contains(id)) {
                            found.add(new Problem(
                                    ErrorCode.REPOSITORY_BUSY,
                                    "/checkpoints/" + i,
                                    "checkpoint " + id + " is being restored",
                                    "ask again when the restore is over"));
                        }
                    }
                }
                default -> {
                    // nothing that can be wrong
                }
            }
            return found;
        }

        void known(String checkpoint, String field, List<Problem> found) {
            if (!checkpoints.containsKey(checkpoint)) {
                found.add(new Problem(
                        ErrorCode.UNKNOWN_CHECKPOINT,
                        field,
                        "no checkpoint " + checkpoint + " is known",
                        "list the checkpoints; a rebuild finds those that the catalog lacks"));
            }
        }

        /** The storage service that works on the repository next: alive, and with the least of that to do. */
        String keeper() {
            return hosts.values().stream()
                    .filter(h -> h.storageAlive(now, settings.alive())
                            && h.storage() != null
                            && h.storage().reachable())
                    .map(HostInfo::host)
                    .min(Comparator.<String>comparingLong(h -> operations.values().stream()
                                    .filter(o -> o.state() instanceof Maintaining m
                                            && m.waiting().contains(h))
                                    .count())
                            .thenComparing(Comparator.naturalOrder()))
                    .orElse(null);
        }

        /** A storage service has ended its work on the repository. */
        void maintained(Operation op, Maintaining s, PublicEvent outcome, CheckpointView entry) {
            Operation over = op.phaseDone(
                    s.phase(), Duration.between(s.span().startedAt(), now).toMillis());
            outward.add(done(over, s.phase()));
            if (entry != null) {
                checkpoints = Sorted.with(checkpoints, entry.checkpoint(), entry);
                outward.add(new Effect.Catalog(entry));
            }
            end(over, s.complete(now, outcome, entry));
        }

        void reportedByKeeper(Operation op, Maintaining s, Report report) {
            long millis = millisSince(op.acceptedAt());
            switch (report) {
                case Report.Verified r
                when op.kind() == OperationKind.verify ->
                    maintained(op, s, new PublicEvent.VerifyCompleted(op.id(), r.result(), millis), null);
                case Report.Forgotten r
                when op.kind() == OperationKind.forget ->
                    maintained(op, s, new PublicEvent.ForgetCompleted(op.id(), r.result(), millis), null);
                case Report.Pruned r
                when op.kind() == OperationKind.prune ->
                    maintained(op, s, new PublicEvent.PruneCompleted(op.id(), r.result(), millis), null);
                case Report.Counted r
                when op.kind() == OperationKind.stats ->
                    maintained(op, s, new PublicEvent.StatsCompleted(op.id(), r.result(), millis), null);
                case Report.Held r
                when op.kind() == OperationKind.hold ->
                    maintained(
                            op,
                            s,
                            new PublicEvent.HoldCompleted(
                                    op.id(),
                                    op.checkpoint(),
                                    op.task().reason(),
                                    op.task().until(),
                                    r.locked(),
                                    r.note(),
                                    millis),
                            held(op.checkpoint(), true));
                case Report.Released r
                when op.kind() == OperationKind.release ->
                    maintained(
                            op,
                            s,
                            new PublicEvent.ReleaseCompleted(op.id(), op.checkpoint(), millis),
                            held(op.checkpoint(), false));
                case Report.Found r
                when op.kind() == OperationKind.rebuild && !op.task().dryRun() -> found(r);
                case Report.Rebuilt r when op.kind() == OperationKind.rebuild -> rebuilt(op, s, r, millis);
                default -> {
                    // a repeat, or of another phase
                }
            }
        }

        CheckpointView held(String checkpoint, boolean held) {
            CheckpointView c = checkpoints.get(checkpoint);
            return c == null ? null : c.held(held);
        }

        /** A rebuild tells of a checkpoint in the bucket. */
        void found(Report.Found r) {
            CheckpointManifest m = r.manifest();
            CheckpointView before = checkpoints.get(m.checkpoint());
            var entry = new CheckpointView(
                    m.checkpoint(),
                    m.instance(),
                    m.label(),
                    m.takenAt(),
                    before == null ? null : before.operation(),
                    r.manifestKey(),
                    r.manifestSha256(),
                    m,
                    r.held());
            if (!entry.equals(before)) {
                checkpoints = Sorted.with(checkpoints, entry.checkpoint(), entry);
                outward.add(new Effect.Catalog(entry));
            }
        }

        void rebuilt(Operation op, Maintaining s, Report.Rebuilt r, long millis) {
            if (!op.task().dryRun()) {
                List<String> untold = r.result().checkpoints().stream()
                        .filter(c -> !checkpoints.containsKey(c))
                        .toList();
                if (!untold.isEmpty()) { // the service restarted before it had told of all
                    fail(
                            op,
                            new HostFailure(
                                    r.header().host(),
                                    ErrorCode.INTERRUPTED,
                                    untold.size() + " checkpoints of the bucket were not told of",
                                    "ask for the rebuild again"));
                    return;
                }
                forget(gone(r, s));
            }
            maintained(op, s, new PublicEvent.RebuildCompleted(op.id(), r.result(), millis), null);
        }

        /** Checkpoints of the catalog that the bucket does not have; one that was committed meanwhile is not among them. */
        List<String> gone(Report.Rebuilt r, Maintaining s) {
            Set<String> there = new TreeSet<>(r.result().checkpoints());
            return checkpoints.values().stream()
                    .filter(c -> !there.contains(c.checkpoint()) && r.result().tellsOf(c.checkpoint()))
                    .filter(c -> {
                        Operation by = c.operation() == null ? null : operations.get(c.operation());
                        return by == null
                                || (by.state() instanceof Ended e
                                        && e.endedAt().isBefore(s.span().startedAt()));
                    })
                    .map(CheckpointView::checkpoint)
                    .toList();
        }

        /** The catalog names these no more. */
        void forget(List<String> gone) {
            for (String c : gone) {
                checkpoints = Sorted.without(checkpoints, c);
                outward.add(new Effect.Uncatalog(c));
            }
        }

        void forgotten(io.holdfast.schemas.event.Maintenance.ForgetResult result) {
            if (!result.dryRun()) {
                forget(result.forgotten().stream().map(f -> f.checkpoint()).toList());
            }
        }

        void accept(Operation op, Instance instance) {
            if (instance != null) {
                put(instance);
            }
            outward.add(accepted(op));
        }

        /** Hosts that may take VMs, with their RAM less what was promised since their last heartbeat. */
        List<Placement.Candidate> candidates(Instance replaced) {
            var list = new ArrayList<Placement.Candidate>();
            for (HostInfo h : hosts.values()) {
                if (!alive(h.host())) {
                    continue;
                }
                long free = h.agent().memoryFreeBytes();
                for (Instance i : instances.values()) {
                    boolean leaves = replaced != null && i.name().equals(replaced.name());
                    for (InstanceLayout.HostPart part : i.layout().hosts()) {
                        if (!part.host().equals(h.host())) {
                            continue;
                        }
                        for (String vm : part.vms()) {
                            long bytes = i.layout().spec().vm(vm).memoryBytes();
                            boolean counted = counted(h.agent(), i.name(), vm);
                            Machine m = i.machines().get(vm);
                            if (leaves && counted) {
                                free += bytes;
                            } else if (!leaves && !counted && (m == null || !m.dead())) {
                                free -= bytes;
                            }
                        }
                    }
                }
                list.add(new Placement.Candidate(h.host(), h.agent().underlay(), free));
            }
            return list;
        }

        /** Whether the heartbeat's free memory knows of the VM. */
        boolean counted(Heartbeat.Agent agent, String instance, String vm) {
            return agent.instances().stream()
                    .filter(i -> i.instance().equals(instance))
                    .flatMap(i -> i.vms().stream())
                    .anyMatch(v -> v.vm().equals(vm) && !Instance.isDead(v));
        }

        SortedMap<String, Integer> vnis(String operation, NetworkSpec spec) {
            Set<Integer> used = new TreeSet<>();
            instances.values().forEach(i -> used.addAll(i.layout().vnis().values()));
            return Vnis.choose(operation, spec, used, settings.firstVni(), settings.lastVni());
        }

        boolean alive(String host) {
            HostInfo h = hosts.get(host);
            return h != null && h.agentAlive(now, settings.alive()) && h.storageAlive(now, settings.alive());
        }

        boolean agentAlive(String host) {
            HostInfo h = hosts.get(host);
            return h != null && h.agentAlive(now, settings.alive());
        }

        Problem gone(String host) {
            HostInfo h = hosts.get(host);
            String what = h == null || !h.agentAlive(now, settings.alive()) ? "the agent" : "the storage service";
            return new Problem(
                    ErrorCode.HOST_UNAVAILABLE,
                    "",
                    what + " of host " + host + " has not been heard of lately",
                    "start it; the host's VMs may still run");
        }

        boolean anyRuns(Instance i) {
            return i.runningSince() != null
                    && i.machines().values().stream().anyMatch(m -> !m.dead() && agentAlive(m.host()));
        }

        // ---- phases

        /**
         * How far ahead the cut is set. What the hosts took to get ready bounds what a command takes to reach them now: on a
         * busy machine the configured lead alone is missed again and again.
         */
        Duration cutLead(Preparing s) {
            Duration twice = Duration.between(s.span().startedAt(), now).multipliedBy(2);
            Duration lead = settings.cutLead().compareTo(twice) < 0 ? twice : settings.cutLead();
            return lead.compareTo(LONGEST_LEAD) < 0 ? lead : LONGEST_LEAD;
        }

        /** A host that is late for a restart begins at once, so that this needs no reserve. */
        Duration resumeLead() {
            return settings.cutLead().compareTo(RESUME_LEAD) < 0 ? settings.cutLead() : RESUME_LEAD;
        }

        Span span(String phase) {
            return Span.of(now, settings.limit(phase));
        }

        /** Enters a state: journal, commands, event; goes on at once if there is nobody to wait for. */
        void begin(Operation op, Active state) {
            Operation next = op.in(state);
            put(next);
            outward.add(started(next, state));
            var targets = new TreeSet<>(state.waiting());
            if (state instanceof Destroying || state instanceof Clearing || state instanceof Undoing) {
                targets.addAll(next.skipped()); // told too, in case they come back
                targets.retainAll(touched(next));
            }
            if (!(state instanceof Writing)) { // its command was the cut's
                send(next, targets);
            }
            if (state.waiting().isEmpty()) {
                advance(next);
            }
        }

        void send(Operation op, Collection<String> targets) {
            for (String host : targets) {
                // to a silent one nothing is sent that it would find a hundred times when it is back
                if (!(op.state() instanceof Retried r) || (r.due(host, now) && !lost(r, host))) {
                    outward.add(new Effect.Send(command(op, host), op.trace()));
                }
            }
            sentAt = Sorted.with(sentAt, op.id(), now);
        }

        /** The command that a host has to answer in the operation's state. A function of the journalled operation. */
        Command command(Operation op, String host) {
            return switch ((Active) op.state()) {
                case Deploying s -> new Command.Deploy(header(op, host, Phases.DEPLOY, 1), op.layout());
                case Preparing s ->
                    new Command.Prepare(
                            header(op, host, Phases.PREPARE, 1),
                            op.checkpoint(),
                            s.nonce(),
                            Math.toIntExact(settings.cutLimit().toMillis()));
                case Cutting s -> new Command.Cut(header(op, host, Phases.CUT, 1), op.checkpoint(), s.startAtMicros());
                case Writing s -> new Command.Cut(header(op, host, Phases.CUT, 1), op.checkpoint(), s.startAtMicros());
                case Archiving s ->
                    new Command.Archive(
                            header(op, host, Phases.ARCHIVE, s.attempt(host)),
                            op.checkpoint(),
                            op.layout().part(host).vms());
                case Committing s -> new Command.Commit(header(op, host, Phases.COMMIT, s.attempt(host)), s.manifest());
                case Clearing s -> new Command.Destroy(header(op, host, Phases.DESTROY, 1));
                case Pulling s ->
                    new Command.Pull(
                            header(op, host, Phases.PULL, 1),
                            op.checkpoint(),
                            op.manifestKey(),
                            op.layout().part(host).vms());
                case Loading s -> new Command.Load(header(op, host, Phases.LOAD, 1), op.checkpoint(), op.layout());
                case Resuming s ->
                    new Command.Resume(header(op, host, Phases.RESUME, 1), op.checkpoint(), s.startAtMicros());
                case Destroying s -> new Command.Destroy(header(op, host, Phases.DESTROY, 1));
                case Aborting s ->
                    new Command.Abort(
                            header(op, host, Phases.ABORT, 1),
                            op.checkpoint(),
                            s.cause().code() + " in phase " + s.cause().phase());
                case Undoing s -> new Command.Destroy(header(op, host, Phases.DESTROY, s.attempt()));
                case Maintaining s ->
                    op.task()
                            .command(
                                    op.kind(),
                                    header(op, host, s.phase(), 1).by(s.span().deadline()));
            };
        }

        Command.Header header(Operation op, String host, String phase, int attempt) {
            return new Command.Header(op.id(), op.instance(), host, phase, attempt, epoch);
        }

        /** Every answer is here: the next phase, or the end. */
        void advance(Operation before) {
            var active = (Active) before.state();
            Operation op = before.phaseDone(
                    active.phase(),
                    Duration.between(active.span().startedAt(), now).toMillis());
            if (active instanceof Destroying d && !d.failures().isEmpty()) {
                destroyFailed(op, d);
                return;
            }
            outward.add(done(op, active.phase()));
            switch (active) {
                case Deploying s -> {
                    if (!deadOnArrival(op, s.vms())) {
                        runs(op, s.vms());
                        end(
                                op,
                                Completed.of(
                                        now,
                                        new PublicEvent.DeployCompleted(
                                                op.id(),
                                                op.instance(),
                                                placement(op.layout()),
                                                s.vms().values().stream()
                                                        .flatMap(List::stream)
                                                        .toList(),
                                                millisSince(op.acceptedAt()))));
                    }
                }
                case Preparing s -> {
                    if (!deadOnArrival(op, s.machines())) {
                        begin(op, s.cut(span(Phases.CUT), op.hosts(), micros(now.plus(cutLead(s)))));
                    }
                }
                case Cutting s -> begin(op, s.write(span(Phases.WRITE)));
                case Writing s -> begin(op, s.archive(span(Phases.ARCHIVE)));
                case Archiving s ->
                    begin(op, s.commit(span(Phases.COMMIT), op.hosts().getFirst(), manifest(op, s)));
                case Committing s -> throw new IllegalStateException("a commit ends by its report");
                case Maintaining s -> throw new IllegalStateException("work on the repository ends by its report");
                case Clearing s -> begin(op, s.pull(span(Phases.PULL), op.hosts()));
                case Pulling s -> begin(op, s.load(span(Phases.LOAD), op.hosts()));
                case Loading s -> begin(op, s.resume(span(Phases.RESUME), op.hosts(), micros(now.plus(resumeLead()))));
                case Resuming s -> {
                    if (!deadOnArrival(op, s.vms())) {
                        runs(op, s.vms());
                        end(
                                op,
                                Completed.of(
                                        now,
                                        new PublicEvent.RestoreCompleted(
                                                op.id(),
                                                op.instance(),
                                                op.checkpoint(),
                                                placement(op.layout()),
                                                op.phases(),
                                                millisSince(op.acceptedAt()))));
                    }
                }
                case Destroying s -> {
                    forgetInstance(op.instance());
                    end(
                            op,
                            Completed.of(
                                    now,
                                    new PublicEvent.DestroyCompleted(
                                            op.id(), op.instance(), millisSince(op.acceptedAt()))));
                }
                case Aborting s -> retreated(op, s.cause());
                case Undoing s -> retreated(op, s.cause());
            }
        }

        /** A host answered that its VMs are there, but one has ended. */
        boolean deadOnArrival(Operation op, SortedMap<String, List<VmState>> states) {
            for (var e : states.entrySet()) {
                for (VmState s : e.getValue()) {
                    if (Instance.isDead(s)) {
                        fail(op, vmDead(e.getKey(), s.vm(), s.reason()));
                        return true;
                    }
                }
            }
            return false;
        }

        void runs(Operation op, SortedMap<String, List<VmState>> states) {
            var machines = new TreeMap<String, Machine>();
            states.forEach((host, list) -> list.forEach(s -> machines.put(s.vm(), Machine.of(host, s, now))));
            put(new Instance(op.instance(), op.layout(), op.id(), op.id(), now, machines));
        }

        CheckpointManifest manifest(Operation op, Archiving s) {
            return new CheckpointManifest(
                    1,
                    op.checkpoint(),
                    op.instance(),
                    op.label(),
                    instant(s.startAtMicros()),
                    op.layout(),
                    s.archived().values().stream()
                            .flatMap(a -> a.vms().stream())
                            .toList(),
                    s.machines().values().stream().flatMap(List::stream).toList(),
                    new CutFigures(List.copyOf(s.cuts().values())));
        }

        /** The operation is over: outcome, and the instance is free. */
        void end(Operation op, Ended state) {
            Operation next = op.in(state);
            put(next);
            sentAt = Sorted.without(sentAt, op.id());
            Instance instance = op.instance() == null ? null : instances.get(op.instance());
            if (instance != null && op.id().equals(instance.operation())) {
                put(instance.free());
            }
            outward.addAll(outcome(next));
        }

        // ---- failure

        /** Gives the operation up: the hosts are brought back first. */
        void fail(Operation op, HostFailure failure) {
            fail(
                    op,
                    new Cause(
                            op.state().phase(),
                            failure.code(),
                            (failure.host() == null ? "" : "host " + failure.host() + ": ") + failure.message(),
                            failure.remedy(),
                            failure.host() == null ? List.of() : List.of(failure)));
        }

        void fail(Operation op, Cause cause) {
            switch (op.kind()) {
                case checkpoint -> begin(op, new Aborting(span(Phases.ABORT), Sorted.set(op.hosts()), cause));
                case deploy, restore -> {
                    var all = touched(op);
                    begin(
                            op,
                            new Undoing(
                                    span(Phases.UNDO),
                                    minus(all, op.skipped()),
                                    Sorted.set(all),
                                    op.kind() == OperationKind.restore ? 2 : 1,
                                    cause));
                }
                case destroy -> throw new IllegalStateException("a destroy collects its failures");
                case verify, forget, prune, hold, release, stats, rebuild ->
                    retreated(op, cause); // nothing to bring back
            }
        }

        /** Every host that has or had something of the instance. */
        Set<String> touched(Operation op) {
            var all = new TreeSet<>(op.hosts());
            all.addAll(op.clear());
            return all;
        }

        /** Brought back: the operation has failed. */
        void retreated(Operation op, Cause cause) {
            if (op.kind() == OperationKind.deploy || op.kind() == OperationKind.restore) {
                forgetInstance(op.instance());
            }
            HostFailure root = cause.hosts().stream()
                    .min(Comparator.comparingInt(h -> rank(h.code())))
                    .filter(h -> rank(h.code()) < rank(cause.code()))
                    .orElse(null);
            var failed = new PublicEvent.Failed(
                    op.id(),
                    op.kind(),
                    op.instance(),
                    cause.phase(),
                    root == null ? cause.code() : root.code(),
                    root == null ? cause.message() : "host " + root.host() + ": " + root.message(),
                    root == null ? cause.remedy() : root.remedy(),
                    cause.hosts());
            end(op, new Failed(now, false, failed));
        }

        /** Codes that only say that another part failed come after those that say what did. */
        static int rank(ErrorCode code) {
            return switch (code) {
                case ABORTED -> 2;
                case COOKIE_MISSING, PHASE_TIMEOUT -> 1;
                default -> 0;
            };
        }

        void destroyFailed(Operation op, Destroying d) {
            var failedHosts = d.failures().stream().map(HostFailure::host).toList();
            Instance instance = instances.get(op.instance());
            if (instance != null) { // else a crash came after it was forgotten
                for (Machine m : List.copyOf(instance.machines().values())) {
                    if (!m.dead() && !failedHosts.contains(m.host())) {
                        instance = instance.with(m.died("destroyed", now));
                    }
                }
                put(instance);
            }
            HostFailure first = d.failures().getFirst();
            end(
                    op,
                    new Failed(
                            now,
                            false,
                            new PublicEvent.Failed(
                                    op.id(),
                                    op.kind(),
                                    op.instance(),
                                    Phases.DESTROY,
                                    first.code(),
                                    "host " + first.host() + ": " + first.message(),
                                    first.remedy(),
                                    d.failures())));
        }

        HostFailure vmDead(String host, String vm, String reason) {
            return new HostFailure(
                    host,
                    ErrorCode.VM_DEAD,
                    "VM " + vm + " has ended" + (reason == null ? "" : ": " + reason),
                    "see the VM's qemu.log and console.log in the instance's state folder on the host");
        }

        /** A host did not answer: its failure, and in a retreat no more waiting for it. */
        void unanswered(Operation op, HostFailure failure) {
            switch ((Active) op.state()) {
                case Destroying s -> settle(op, s.failed(failure));
                case Forward s -> fail(op, failure);
                case Aborting s -> settle(op, s.because(s.cause().with(failure)).aborted(failure.host()));
                case Undoing s -> settle(op, s.because(s.cause().with(failure)).destroyed(failure.host()));
            }
        }

        /** Journals a state with one answer more, and goes on if it was the last. */
        void settle(Operation op, Active state) {
            Operation next = op.in(state);
            put(next);
            if (state.waiting().isEmpty()) {
                advance(next);
            }
        }

        // ---- reports

        void reported(Report report) {
            Report.Header h = report.header();
            Operation op = operations.get(h.operation());
            if (report instanceof Report.Forgotten f && op != null && op.kind() == OperationKind.forget) {
                forgotten(f.result()); // also when it comes late: they are gone
            }
            if (op == null || !(op.state() instanceof Active state)) {
                return; // trimmed, never ours, or late: nothing hangs on it
            }
            switch (report) {
                case Report.Progress p -> progress(op, p);
                case Report.Failed f -> reportedFailed(op, state, f);
                case Report.Deployed r
                when state instanceof Deploying s && waits(s, h) -> settle(op, s.deployed(h.host(), r.vms()));
                case Report.Prepared r
                when state instanceof Preparing s && waits(s, h) -> settle(op, s.prepared(h.host(), r.vms()));
                case Report.CutDone r
                when state instanceof Cutting s && waits(s, h) -> settle(op, s.done(h.host(), r.figures()));
                case Report.Written r
                when state instanceof Cutting s
                        && op.hosts().contains(h.host())
                        && !s.written().containsKey(h.host()) -> settle(op, s.written(h.host(), r.images()));
                case Report.Written r
                when state instanceof Writing s && waits(s, h) -> settle(op, s.written(h.host(), r.images()));
                case Report.Archived r
                when state instanceof Archiving s && waits(s, h) ->
                    settle(op, s.archived(h.host(), new HostArchive(r.vms(), r.figures())));
                case Report.Committed r when state instanceof Committing s && waits(s, h) -> committed(op, s, r);
                case Report r when state instanceof Maintaining s && waits(s, h) -> reportedByKeeper(op, s, r);
                case Report.Pulled r when state instanceof Pulling s && waits(s, h) -> settle(op, s.pulled(h.host()));
                case Report.Loaded r when state instanceof Loading s && waits(s, h) -> settle(op, s.loaded(h.host()));
                case Report.Resumed r
                when state instanceof Resuming s && waits(s, h) -> settle(op, s.resumed(h.host(), r.vms()));
                case Report.Destroyed r
                when state instanceof Clearing s && waits(s, h) && h.attempt() == 1 ->
                    settle(op, s.destroyed(h.host()));
                case Report.Destroyed r
                when state instanceof Undoing s && waits(s, h) && h.attempt() == s.attempt() ->
                    settle(op, s.destroyed(h.host()));
                case Report.Destroyed r
                when state instanceof Destroying s && waits(s, h) -> settle(op, s.destroyed(h.host()));
                case Report.Aborted r
                when state instanceof Aborting s && waits(s, h) -> settle(op, s.aborted(h.host()));
                default -> {
                    // a repeat, or of a phase that is over
                }
            }
        }

        boolean waits(Active state, Report.Header h) {
            return state.waiting().contains(h.host());
        }

        void committed(Operation op, Committing s, Report.Committed r) {
            Operation over = op.phaseDone(
                    Phases.COMMIT, Duration.between(s.span().startedAt(), now).toMillis());
            outward.add(done(over, Phases.COMMIT));
            var manifest = s.manifest();
            var entry = new CheckpointView(
                    op.checkpoint(),
                    op.instance(),
                    op.label(),
                    manifest.takenAt(),
                    op.id(),
                    r.manifestKey(),
                    r.manifestSha256(),
                    manifest,
                    false);
            checkpoints = Sorted.with(checkpoints, entry.checkpoint(), entry);
            outward.add(new Effect.Catalog(entry));
            end(
                    over,
                    s.complete(
                            now,
                            new PublicEvent.CheckpointCompleted(
                                    op.id(),
                                    op.instance(),
                                    op.checkpoint(),
                                    r.manifestKey(),
                                    r.manifestSha256(),
                                    manifest.cut(),
                                    s.archive(),
                                    manifest.takenAt(),
                                    millisSince(op.acceptedAt())),
                            entry));
        }

        void reportedFailed(Operation op, Active state, Report.Failed f) {
            Report.Header h = f.header();
            var failure = new HostFailure(h.host(), f.code(), f.message(), f.remedy());
            switch (state) {
                case Destroying s when waits(s, h) -> unanswered(op, failure);
                case Aborting s when h.phase().equals(Phases.ABORT) && waits(s, h) -> unanswered(op, failure);
                case Undoing s
                when h.phase().equals(Phases.DESTROY) && h.attempt() == s.attempt() && waits(s, h) ->
                    unanswered(op, failure);
                case Retreat s
                when !h.phase().equals(Phases.ABORT) && !h.phase().equals(Phases.DESTROY) -> {
                    var more = s.cause().with(failure); // what peers had to say of the same failure
                    if (!more.equals(s.cause())) {
                        put(op.in(s.because(more)));
                    }
                }
                case Clearing s when h.phase().equals(Phases.DESTROY) && waits(s, h) -> fail(op, failure);
                case Cutting s when ofCut(h) && op.hosts().contains(h.host()) -> fail(op, failure);
                case Writing s when ofCut(h) && op.hosts().contains(h.host()) -> fail(op, failure);
                case Retried s
                when h.phase().equals(s.phase()) && waits(s, h) -> {
                    if (h.attempt() == s.attempt(h.host())) { // else a repeat: another attempt is at work
                        retryOrFail(op, s, failure);
                    }
                }
                case Forward s when h.phase().equals(s.phase()) && waits(s, h) -> fail(op, failure);
                default -> {
                    // of a phase that is over
                }
            }
        }

        /** The images are complete on the hosts: while the bucket may come back in time, they are not given up. */
        void retryOrFail(Operation op, Retried s, HostFailure failure) {
            int attempt = s.attempt(failure.host());
            int silences = s.silences(failure.host());
            Instant at = now.plus(settings.retryAfter(attempt));
            boolean again =
                    switch (failure.code()) {
                        case TOO_LATE -> silences > 0; // then it may have found the command older than it takes
                        case PHASE_TIMEOUT -> s instanceof Committing;
                        default -> OF_BUCKET.contains(failure.code());
                    };
            if (!again) {
                fail(op, failure);
                return;
            }
            if (!at.isBefore(until(s))) {
                fail(op, tried(s, failure));
                return;
            }
            Span span = s.span();
            if (s instanceof Committing) { // each attempt has the phase's own, short limit
                span = new Span(span.startedAt(), at.plus(settings.limit(Phases.COMMIT)));
            }
            again(op, s, new Retry(attempt + 1, at, failure, silences), span);
        }

        void again(Operation op, Retried s, Retry retry, Span span) {
            Operation next = op.in(s.again(retry, span));
            put(next);
            outward.add(retried(next, (Retried) next.state(), retry.why().host()));
        }

        /** When an archive or commit is given up: {@code limits.archive} after the phase began, or when its span is over. */
        Instant until(Retried s) {
            return s instanceof Committing
                    ? s.span().startedAt().plus(settings.limit(Phases.ARCHIVE))
                    : s.span().deadline();
        }

        /**
         * A look at a storage service that has not answered. A silent one goes on from its journal at its next start, or is
         * asked again then: giving up would remove the images of every host, which are the only copy.
         */
        void await(Operation op, Retried s, String host) {
            boolean over = over(s);
            if (!lost(s, host)) {
                if (over && s instanceof Committing) {
                    retryOrFail(
                            op, s, late(s, host)); // who is late with it is at work still, or does it again: the same
                } else if (over) {
                    fail(op, tried(s, late(s, host)));
                }
                return;
            }
            var silent = new HostFailure(
                    host,
                    ErrorCode.HOST_UNAVAILABLE,
                    "its storage service has not been heard of for "
                            + settings.lost().toSeconds() + " s in phase " + s.phase(),
                    "start it, and it goes on; if it runs, the host or the broker is overloaded: see its log");
            if (over && !now.isBefore(until(s))) {
                fail(op, tried(s, silent));
                return;
            }
            // an attempt at a commit has its time when the host is back
            Span span = over ? new Span(s.span().startedAt(), now.plus(settings.limit(Phases.COMMIT))) : s.span();
            Retry before = s.retries().get(host);
            if (before == null || !before.silent() || heardSince(before.at(), host)) {
                again(op, s, new Retry(s.attempt(host), now, silent, s.silences(host) + 1), span);
            } else if (over) {
                put(op.in(s.within(span)));
            }
        }

        /** What is to be said of a host that has not answered in time: that it failed tells more than that it is late. */
        HostFailure late(Retried s, String host) {
            Retry r = s.retries().get(host);
            return r != null && OF_BUCKET.contains(r.why().code()) ? r.why() : timeout(s, host);
        }

        boolean heardSince(Instant then, String host) {
            HostInfo h = hosts.get(host);
            return h != null && h.storageSeen() != null && h.storageSeen().isAfter(then);
        }

        /** A failure, with how often and how long was tried. */
        HostFailure tried(Retried s, HostFailure failure) {
            int attempts = s.attempt(failure.host());
            return attempts == 1 && failure.code() != ErrorCode.HOST_UNAVAILABLE
                    ? failure
                    : new HostFailure(
                            failure.host(),
                            failure.code(),
                            failure.message() + " (attempt " + attempts + ", "
                                    + Duration.between(s.span().startedAt(), now)
                                            .toSeconds() + " s after the first)",
                            failure.remedy()
                                    + "; then take another checkpoint: this one's local images are removed now, since"
                                    + " holdfast.coordinator.limits.archive says not to try longer");
        }

        boolean ofCut(Report.Header h) {
            return h.phase().equals(Phases.CUT) || h.phase().equals(Phases.WRITE);
        }

        void progress(Operation op, Report.Progress p) {
            outward.add(new Effect.Publish(
                    p.header().id(),
                    op.id(),
                    new PublicEvent.Progressed(
                            op.id(),
                            op.kind(),
                            op.instance(),
                            p.header().phase(),
                            p.header().host(),
                            "progressing",
                            p.done(),
                            p.total(),
                            p.perSecond(),
                            p.secondsLeft(),
                            null,
                            null),
                    op.trace()));
        }

        // ---- heartbeats

        void beat(Heartbeat beat, Instant sent) {
            Instant at = sent.isAfter(now) ? now : sent;
            HostInfo before = hosts.getOrDefault(beat.host(), HostInfo.unknown(beat.host()));
            if (beat instanceof Heartbeat.Agent && before.agentSeen() != null && at.isBefore(before.agentSeen())) {
                return; // older than what is known
            }
            hosts = Sorted.with(hosts, beat.host(), before.seen(beat, at));
            if (beat instanceof Heartbeat.Agent agent) {
                for (Instance instance : List.copyOf(instances.values())) {
                    instance.layout().hosts().stream()
                            .filter(p -> p.host().equals(agent.host()))
                            .forEach(p -> watch(instance.name(), p, agent, at));
                }
            }
        }

        /** Looks for VMs of an instance that ended on a host. */
        void watch(String name, InstanceLayout.HostPart part, Heartbeat.Agent agent, Instant at) {
            var listed = agent.instances().stream()
                    .filter(i -> i.instance().equals(name))
                    .flatMap(i -> i.vms().stream())
                    .toList();
            for (String vm : part.vms()) {
                Instance instance = instances.get(name);
                Operation op =
                        instance == null || instance.operation() == null ? null : operations.get(instance.operation());
                if (instance == null) {
                    return;
                }
                VmState seen = listed.stream()
                        .filter(s -> s.vm().equals(vm))
                        .findFirst()
                        .orElse(null);
                if (op != null && op.state() instanceof Resuming r) {
                    if (seen != null
                            && Instance.isDead(seen)
                            && at.isAfter(r.span().startedAt())) {
                        fail(op, vmDead(part.host(), vm, seen.reason()));
                    }
                    continue;
                }
                Machine machine = instance.machines().get(vm);
                if (instance.runningSince() == null
                        || machine == null
                        || machine.dead()
                        || (op != null && op.kind() != OperationKind.checkpoint)) {
                    continue;
                }
                boolean ended = seen != null && Instance.isDead(seen) && at.isAfter(instance.runningSince());
                boolean vanished =
                        seen == null && at.isAfter(instance.runningSince().plus(settings.settle()));
                if (ended || vanished) {
                    died(instance, machine, ended ? seen.reason() : "the host no longer has it", op);
                }
            }
        }

        void died(Instance instance, Machine machine, String reason, Operation op) {
            Machine dead = machine.died(reason, now);
            put(instance.with(dead));
            outward.add(exited(instance, dead));
            if (op == null) {
                return;
            }
            boolean spoilt =
                    switch (op.state()) {
                        case Preparing s -> true;
                        case Cutting s -> !s.written().containsKey(machine.host());
                        case Writing s -> s.waiting().contains(machine.host());
                        default -> false;
                    };
            if (spoilt) {
                fail(op, vmDead(machine.host(), machine.vm(), reason));
            }
        }

        // ---- time, recovery, forgetting

        void tick() {
            if (since == null) {
                since = now;
            }
            for (Operation known : List.copyOf(operations.values())) {
                if (known.state() instanceof Active state) {
                    tick(known, state);
                }
            }
        }

        void tick(Operation known, Active before) {
            Operation op = known;
            Active state = before;
            if (state instanceof Retried) {
                for (String host : before.waiting()) {
                    if (!stillWaits(known, host)) {
                        return; // given up as a whole
                    }
                    await(op, (Retried) op.state(), host);
                    op = operations.get(op.id());
                }
                if (!(op.state() instanceof Retried s)) {
                    return;
                }
                state = s;
            } else if (over(state)) {
                for (String host : state.waiting()) {
                    if (!stillWaits(op, host)) {
                        break; // a forward phase is given up as a whole
                    }
                    unanswered(operations.get(op.id()), timeout(state, host));
                }
                return;
            } else {
                for (String host : state.waiting()) {
                    if (lost(state, host)) {
                        unanswered(
                                op,
                                new HostFailure(
                                        host,
                                        ErrorCode.HOST_UNAVAILABLE,
                                        "not heard of for " + settings.lost().toSeconds() + " s in phase "
                                                + state.phase(),
                                        "start its host agent and storage service; if they run, the host or the broker is overloaded: see their logs"));
                        return;
                    }
                }
            }
            Instant sent = sentAt.get(op.id());
            if (sent == null || !sent.plus(settings.resend()).isAfter(now) || retryIsDue(state, sent)) {
                send(op, state.waiting());
            }
        }

        /** Whether the time of an attempt has come since commands were sent last. */
        boolean retryIsDue(Active state, Instant sent) {
            return state instanceof Retried s
                    && s.retries().entrySet().stream()
                            .anyMatch(e -> s.waiting().contains(e.getKey())
                                    && e.getValue().at().isAfter(sent)
                                    && s.due(e.getKey(), now));
        }

        boolean stillWaits(Operation op, String host) {
            return operations.get(op.id()).state() instanceof Active now1
                    && now1.phase().equals(op.state().phase())
                    && now1.waiting().contains(host);
        }

        /** Whether the phase's time is over, and was long enough for answers to be read. */
        boolean over(Active state) {
            return !now.isBefore(state.span().deadline()) && !now.isBefore(since.plus(RECOVERY_GRACE));
        }

        HostFailure timeout(Active state, String host) {
            return new HostFailure(
                    host,
                    ErrorCode.PHASE_TIMEOUT,
                    "no answer in phase " + state.phase() + " within "
                            + Duration.between(state.span().startedAt(), now).toSeconds() + " s",
                    "see the log of the host's "
                            + (ofStorage(state) ? "storage service" : "agent")
                            + "; the limit is holdfast.coordinator.limits." + state.phase());
        }

        boolean ofStorage(Active state) {
            return state instanceof Archiving
                    || state instanceof Committing
                    || state instanceof Pulling
                    || state instanceof Maintaining;
        }

        boolean lost(Active state, String host) {
            HostInfo h = hosts.get(host);
            Instant seen = h == null ? null : ofStorage(state) ? h.storageSeen() : h.agentSeen();
            Instant from = since == null ? now : since;
            if (seen != null && seen.isAfter(from)) {
                from = seen;
            }
            if (state.span().startedAt().isAfter(from)) {
                from = seen == null ? state.span().startedAt() : from;
            }
            return from.plus(settings.lost()).isBefore(now);
        }

        void recovered() {
            since = now;
            mend();
            for (Operation op : List.copyOf(operations.values())) {
                switch (op.state()) {
                    case Active state -> {
                        Instant least = now.plus(RECOVERY_GRACE);
                        Operation next = op;
                        if (state.span().deadline().isBefore(least)) {
                            next = op.in(state.within(new Span(state.span().startedAt(), least)));
                            put(next);
                        }
                        repeatEvents(next);
                        send(next, state.waiting());
                    }
                    case Ended ended -> {
                        if (!ended.announced()) {
                            repeatEvents(op);
                        }
                    }
                }
            }
            for (Instance instance : instances.values()) {
                for (Machine m : instance.machines().values()) {
                    if (m.dead() && m.diedAt().plusSeconds(60).isAfter(now) && !"destroyed".equals(m.reason())) {
                        outward.add(exited(instance, m));
                    }
                }
            }
        }

        void announced(String id) {
            Operation op = operations.get(id);
            if (op == null || !(op.state() instanceof Ended ended) || ended.announced()) {
                return;
            }
            put(op.in(ended.asAnnounced()));
            var over = operations.values().stream()
                    .filter(o -> o.state() instanceof Ended e && e.announced())
                    .sorted(Comparator.comparing((Operation o) -> ((Ended) o.state()).endedAt())
                            .thenComparing(Operation::id))
                    .toList();
            var lastRuns = new EnumMap<OperationKind, String>(OperationKind.class);
            over.stream()
                    .filter(o -> Ids.SCHEDULE.equals(o.requestSource()))
                    .forEach(o -> lastRuns.put(o.kind(), o.id()));
            over.stream()
                    .limit(Math.max(0, over.size() - settings.keptOperations()))
                    .filter(o ->
                            !lastRuns.containsValue(o.id())) // it tells a coordinator that starts that the run was done
                    .forEach(o -> forgetOperation(o.id()));
        }

        // ---- events

        Effect.Publish accepted(Operation op) {
            return new Effect.Publish(
                    op.id() + "/accepted",
                    op.id(),
                    new PublicEvent.Accepted(
                            op.id(), op.kind(), op.instance(), op.requestId(), op.requestSource(), op.checkpoint()),
                    op.trace());
        }

        Effect.Publish started(Operation op, Active state) {
            return progressed(op, state.phase(), "started");
        }

        Effect.Publish done(Operation op, String phase) {
            return progressed(op, phase, "done");
        }

        Effect.Publish progressed(Operation op, String phase, String what) {
            return new Effect.Publish(
                    op.id() + "/" + phase + "/" + what,
                    op.id(),
                    new PublicEvent.Progressed(
                            op.id(), op.kind(), op.instance(), phase, null, what, null, null, null, null, null, null),
                    op.trace());
        }

        /** A host is asked again: when, and why; or it is silent: why. */
        Effect.Publish retried(Operation op, Retried s, String host) {
            Retry r = s.retries().get(host);
            return new Effect.Publish(
                    op.id() + "/" + s.phase() + "/" + host
                            + (r.silent() ? "/silent/" + r.silences() : "/waiting/" + r.attempt()),
                    op.id(),
                    new PublicEvent.Progressed(
                            op.id(),
                            op.kind(),
                            op.instance(),
                            s.phase(),
                            host,
                            "waiting",
                            null,
                            null,
                            null,
                            null,
                            r.silent() ? null : r.at(),
                            r.why()),
                    op.trace());
        }

        Effect.Publish exited(Instance instance, Machine m) {
            return new Effect.Publish(
                    instance.madeBy() + "/" + m.vm() + "/exited",
                    null,
                    new PublicEvent.VmExited(instance.name(), m.vm(), m.host(), m.reason()),
                    Map.of());
        }

        List<Effect> outcome(Operation op) {
            var ended = (Ended) op.state();
            return List.of(new Effect.Publish(op.id() + "/ended", op.id(), ended.outcome(), op.trace()));
        }

        /** What was told of an operation, told again with the same ids. */
        void repeatEvents(Operation op) {
            outward.add(accepted(op));
            for (String phase : op.phases().keySet()) {
                outward.add(done(op, phase));
            }
            switch (op.state()) {
                case Active state -> {
                    outward.add(started(op, state));
                    if (state instanceof Retried s) {
                        s.retries().keySet().forEach(host -> outward.add(retried(op, s, host)));
                    }
                }
                case Completed c -> {
                    if (c.entry() != null) {
                        checkpoints = Sorted.with(checkpoints, c.entry().checkpoint(), c.entry());
                        outward.add(new Effect.Catalog(c.entry()));
                    }
                    if (c.outcome() instanceof PublicEvent.ForgetCompleted f) {
                        forgotten(f.result());
                    }
                    outward.addAll(outcome(op));
                }
                case Failed f -> outward.addAll(outcome(op));
            }
        }

        // ---- small things

        long millisSince(Instant from) {
            return Duration.between(from, now).toMillis();
        }
    }

    private static Map<String, String> placement(InstanceLayout layout) {
        var map = new TreeMap<String, String>();
        layout.hosts().forEach(p -> p.vms().forEach(v -> map.put(v, p.host())));
        return map;
    }

    private static java.util.SortedSet<String> minus(Collection<String> all, Collection<String> less) {
        var set = new TreeSet<>(all);
        set.removeAll(less);
        return Sorted.set(set);
    }

    static long micros(Instant t) {
        return Math.addExact(Math.multiplyExact(t.getEpochSecond(), 1_000_000L), t.getNano() / 1000);
    }

    static Instant instant(long micros) {
        return Instant.ofEpochSecond(Math.floorDiv(micros, 1_000_000L), Math.floorMod(micros, 1_000_000L) * 1000L);
    }
}
