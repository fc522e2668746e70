package io.holdfast.coordinator.domain;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import io.holdfast.schemas.event.ArchiveFigures;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.CutFigures.HostCut;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.VmArchive;
import io.holdfast.schemas.event.VmImage;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.view.CheckpointView;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.SortedMap;
import java.util.SortedSet;

/**
 * Where an operation is. One record per state; a state's methods are the legal ways out of it, and refuse
 * ({@link IllegalStateException}) while an answer is missing.
 *
 * <pre>
 *  deploy      Deploying ────────────────────────────────────────────────┐
 *                  │ failed                                              │
 *                  ▼                                                     ▼
 *              Undoing ──▶ Failed                                    Completed
 *                                                                        ▲
 *  checkpoint  Preparing ─▶ Cutting ─▶ Writing ─▶ Archiving ─▶ Committing┤
 *                  │           │          │           │           │      │
 *                  └───────────┴──────────┴─ failed ──┴───────────┘      │
 *                              ▼                                         │
 *                          Aborting ──▶ Failed                           │
 *                                                                        │
 *  restore    [Clearing ─▶] Pulling ─▶ Loading ─▶ Resuming ──────────────┤
 *                  │           │          │          │                   │
 *                  └───────────┴─ failed ─┴──────────┘                   │
 *                              ▼                                         │
 *                           Undoing ──▶ Failed                           │
 *                                                                        │
 *  destroy     Destroying ───────────────────────────────────────────────┘
 *                  │ failed
 *                  ▼
 *               Failed
 *
 *  verify, forget, prune, hold, release, stats, rebuild
 *              Maintaining ──────────────────────────────────────────▶ Completed
 *                  │ failed
 *                  ▼
 *               Failed
 * </pre>
 *
 * <p>"failed" is any of: a host reports a failure, the phase's time is over, a host is lost, a VM died. In Archiving and
 * Committing a failure of the bucket, a storage service that is silent and a commit that takes long are none until
 * {@code limits.archive} is over: the host is asked again. Answers of hosts move a state on; {@link Decider} is the only
 * caller.
 */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "is")
@JsonSubTypes({
    @JsonSubTypes.Type(value = OperationState.Deploying.class, name = "deploying"),
    @JsonSubTypes.Type(value = OperationState.Preparing.class, name = "preparing"),
    @JsonSubTypes.Type(value = OperationState.Cutting.class, name = "cutting"),
    @JsonSubTypes.Type(value = OperationState.Writing.class, name = "writing"),
    @JsonSubTypes.Type(value = OperationState.Archiving.class, name = "archiving"),
    @JsonSubTypes.Type(value = OperationState.Committing.class, name = "committing"),
    @JsonSubTypes.Type(value = OperationState.Clearing.class, name = "clearing"),
    @JsonSubTypes.Type(value = OperationState.Pulling.class, name = "pulling"),
    @JsonSubTypes.Type(value = OperationState.Loading.class, name = "loading"),
    @JsonSubTypes.Type(value = OperationState.Resuming.class, name = "resuming"),
    @JsonSubTypes.Type(value = OperationState.Destroying.class, name = "destroying"),
    @JsonSubTypes.Type(value = OperationState.Maintaining.class, name = "maintaining"),
    @JsonSubTypes.Type(value = OperationState.Aborting.class, name = "aborting"),
    @JsonSubTypes.Type(value = OperationState.Undoing.class, name = "undoing"),
    @JsonSubTypes.Type(value = OperationState.Completed.class, name = "completed"),
    @JsonSubTypes.Type(value = OperationState.Failed.class, name = "failed"),
})
public sealed interface OperationState {
    /** Name of the phase, see {@link Phases}. */
    @JsonIgnore
    String phase();

    /** When a phase began and when its time is over. */
    record Span(Instant startedAt, Instant deadline) {
        static Span of(Instant now, Duration limit) {
            return new Span(now, now.plus(limit));
        }
    }

    /** Hosts are at work; the operation waits for the answers of {@link #waiting()}. */
    sealed interface Active extends OperationState {
        Span span();

        /** The same with another time limit. */
        Active within(Span other);

        /** Hosts that have not answered yet. */
        SortedSet<String> waiting();

        /** Refuses to move on while an answer is missing. */
        default void requireAnswered() {
            if (!waiting().isEmpty()) {
                throw new IllegalStateException("phase " + phase() + " still waits for " + waiting());
            }
        }
    }

    /** On the way to success; a failure leads to Aborting, Undoing or Failed. */
    sealed interface Forward extends Active {}

    /** A failure happened; the hosts are being brought back. Leads to Failed, always. */
    sealed interface Retreat extends Active {
        Cause cause();

        /** The same with what one more host had to say. */
        Retreat because(Cause more);
    }

    /** Over. */
    sealed interface Ended extends OperationState {
        Instant endedAt();

        /** Whether the outcome's event is known to be published. */
        boolean announced();

        @JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "is")
        @JsonSubTypes({
            @JsonSubTypes.Type(value = PublicEvent.DeployCompleted.class, name = "deployCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.CheckpointCompleted.class, name = "checkpointCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.RestoreCompleted.class, name = "restoreCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.DestroyCompleted.class, name = "destroyCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.VerifyCompleted.class, name = "verifyCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.ForgetCompleted.class, name = "forgetCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.PruneCompleted.class, name = "pruneCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.HoldCompleted.class, name = "holdCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.ReleaseCompleted.class, name = "releaseCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.StatsCompleted.class, name = "statsCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.RebuildCompleted.class, name = "rebuildCompleted"),
            @JsonSubTypes.Type(value = PublicEvent.Failed.class, name = "failed"),
        })
        PublicEvent outcome();

        /** The same, announced. */
        Ended asAnnounced();
    }

    /**
     * Why an operation is given up.
     *
     * @param phase phase in which it happened
     * @param hosts what each host had to say, first come first
     */
    record Cause(String phase, ErrorCode code, String message, String remedy, List<PublicEvent.HostFailure> hosts) {
        public Cause {
            hosts = List.copyOf(hosts);
        }

        /** With what one more host had to say; a host's first word stays. */
        Cause with(PublicEvent.HostFailure failure) {
            if (hosts.stream().anyMatch(h -> h.host().equals(failure.host()))) {
                return this;
            }
            var more = new java.util.ArrayList<>(hosts);
            more.add(failure);
            return new Cause(phase, code, message, remedy, more);
        }
    }

    /** Deploy was commanded; each host answers Deployed. */
    record Deploying(Span span, SortedSet<String> waiting, SortedMap<String, List<VmState>> vms) implements Forward {
        public Deploying {
            waiting = Sorted.set(waiting);
            vms = Sorted.map(vms);
        }

        static Deploying begin(Span span, List<String> hosts) {
            return new Deploying(span, Sorted.set(hosts), Sorted.map(null));
        }

        Deploying deployed(String host, List<VmState> states) {
            return new Deploying(span, Sorted.without(waiting, host), Sorted.with(vms, host, states));
        }

        @Override
        public Deploying within(Span other) {
            return new Deploying(other, waiting, vms);
        }

        @Override
        public String phase() {
            return Phases.DEPLOY;
        }
    }

    /** Prepare was commanded; each host answers Prepared. Nothing stands still yet. */
    record Preparing(Span span, SortedSet<String> waiting, String nonce, SortedMap<String, List<VmState>> machines)
            implements Forward {
        public Preparing {
            waiting = Sorted.set(waiting);
            machines = Sorted.map(machines);
        }

        static Preparing begin(Span span, List<String> hosts, String nonce) {
            return new Preparing(span, Sorted.set(hosts), nonce, Sorted.map(null));
        }

        Preparing prepared(String host, List<VmState> states) {
            return new Preparing(span, Sorted.without(waiting, host), nonce, Sorted.with(machines, host, states));
        }

        /** Every host is ready: the cut is set. */
        Cutting cut(Span next, List<String> hosts, long startAtMicros) {
            requireAnswered();
            return new Cutting(next, Sorted.set(hosts), startAtMicros, machines, Sorted.map(null), Sorted.map(null));
        }

        @Override
        public Preparing within(Span other) {
            return new Preparing(other, waiting, nonce, machines);
        }

        @Override
        public String phase() {
            return Phases.PREPARE;
        }
    }

    /** Cut was commanded; each host answers CutDone once its VMs run again, and later Written. */
    record Cutting(
            Span span,
            SortedSet<String> waiting,
            long startAtMicros,
            SortedMap<String, List<VmState>> machines,
            SortedMap<String, HostCut> cuts,
            SortedMap<String, List<VmImage>> written)
            implements Forward {
        public Cutting {
            waiting = Sorted.set(waiting);
            machines = Sorted.map(machines);
            cuts = Sorted.map(cuts);
            written = Sorted.map(written);
        }

        Cutting done(String host, HostCut figures) {
            return new Cutting(
                    span,
                    Sorted.without(waiting, host),
                    startAtMicros,
                    machines,
                    Sorted.with(cuts, host, figures),
                    written);
        }

        Cutting written(String host, List<VmImage> images) {
            return new Cutting(span, waiting, startAtMicros, machines, cuts, Sorted.with(written, host, images));
        }

        /** Every host's VMs run again: the images have to become durable. */
        Writing write(Span next) {
            requireAnswered();
            var missing = new java.util.TreeSet<>(cuts.keySet());
            missing.removeAll(written.keySet());
            return new Writing(next, missing, startAtMicros, machines, cuts, written);
        }

        @Override
        public Cutting within(Span other) {
            return new Cutting(other, waiting, startAtMicros, machines, cuts, written);
        }

        @Override
        public String phase() {
            return Phases.CUT;
        }
    }

    /** VMs run; each host answers Written. */
    record Writing(
            Span span,
            SortedSet<String> waiting,
            long startAtMicros,
            SortedMap<String, List<VmState>> machines,
            SortedMap<String, HostCut> cuts,
            SortedMap<String, List<VmImage>> written)
            implements Forward {
        public Writing {
            waiting = Sorted.set(waiting);
            machines = Sorted.map(machines);
            cuts = Sorted.map(cuts);
            written = Sorted.map(written);
        }

        Writing written(String host, List<VmImage> images) {
            return new Writing(
                    span,
                    Sorted.without(waiting, host),
                    startAtMicros,
                    machines,
                    cuts,
                    Sorted.with(written, host, images));
        }

        /** Every image is durable on its host: they go to the repository. */
        Archiving archive(Span next) {
            requireAnswered();
            return new Archiving(
                    next, Sorted.set(cuts.keySet()), startAtMicros, machines, cuts, Sorted.map(null), Sorted.map(null));
        }

        @Override
        public Writing within(Span other) {
            return new Writing(other, waiting, startAtMicros, machines, cuts, written);
        }

        @Override
        public String phase() {
            return Phases.WRITE;
        }
    }

    /** What one host's storage service archived. */
    record HostArchive(List<VmArchive> vms, ArchiveFigures figures) {
        public HostArchive {
            vms = List.copyOf(vms);
        }
    }

    /**
     * A host's storage service failed because of the bucket, was late or fell silent, and is asked again.
     *
     * @param attempt number of the attempt to come, 2, 3, ...; of a silent one the attempt that it has not answered
     * @param at it is not made before; of a silent one when that was noticed
     * @param why the failure
     * @param silences how often it has fallen silent in this phase
     */
    record Retry(int attempt, Instant at, PublicEvent.HostFailure why, int silences) {
        /** Whether it is waited for because it is silent, or was when it was waited for last. */
        @JsonIgnore
        boolean silent() {
            return why.code() == ErrorCode.HOST_UNAVAILABLE;
        }
    }

    /**
     * Storage services are at work for a checkpoint, whose complete images on the hosts are the only copy: one that fails
     * because of the bucket is asked again, one that is silent is waited for.
     */
    sealed interface Retried extends Forward {
        /** Hosts that failed or fell silent and are asked again. */
        SortedMap<String, Retry> retries();

        /** The same with one more failure, and the span that the phase has from then on. */
        Retried again(Retry retry, Span span);

        /** How often a host has fallen silent. */
        default int silences(String host) {
            Retry r = retries().get(host);
            return r == null ? 0 : r.silences();
        }

        /** Number of the attempt that a host has to answer. */
        default int attempt(String host) {
            Retry r = retries().get(host);
            return r == null ? 1 : r.attempt();
        }

        /** Whether a host is to be asked at that time. */
        default boolean due(String host, Instant now) {
            Retry r = retries().get(host);
            return r == null || !r.at().isAfter(now);
        }
    }

    /** Archive was commanded; each host's storage service answers Archived. */
    record Archiving(
            Span span,
            SortedSet<String> waiting,
            long startAtMicros,
            SortedMap<String, List<VmState>> machines,
            SortedMap<String, HostCut> cuts,
            SortedMap<String, HostArchive> archived,
            SortedMap<String, Retry> retries)
            implements Retried {
        public Archiving {
            waiting = Sorted.set(waiting);
            machines = Sorted.map(machines);
            cuts = Sorted.map(cuts);
            archived = Sorted.map(archived);
            retries = Sorted.map(retries);
        }

        @Override
        public Archiving again(Retry retry, Span other) {
            return new Archiving(
                    other,
                    waiting,
                    startAtMicros,
                    machines,
                    cuts,
                    archived,
                    Sorted.with(retries, retry.why().host(), retry));
        }

        Archiving archived(String host, HostArchive archive) {
            return new Archiving(
                    span,
                    Sorted.without(waiting, host),
                    startAtMicros,
                    machines,
                    cuts,
                    Sorted.with(archived, host, archive),
                    Sorted.without(retries, host));
        }

        /** Everything is in the repository: its manifest makes it a checkpoint. */
        Committing commit(Span next, String host, CheckpointManifest manifest) {
            requireAnswered();
            return new Committing(
                    next,
                    Sorted.set(List.of(host)),
                    manifest,
                    archived.values().stream().map(HostArchive::figures).toList(),
                    Sorted.map(null));
        }

        @Override
        public Archiving within(Span other) {
            return new Archiving(other, waiting, startAtMicros, machines, cuts, archived, retries);
        }

        @Override
        public String phase() {
            return Phases.ARCHIVE;
        }
    }

    /** Commit was commanded to one storage service, which answers Committed. */
    record Committing(
            Span span,
            SortedSet<String> waiting,
            CheckpointManifest manifest,
            List<ArchiveFigures> archive,
            SortedMap<String, Retry> retries)
            implements Retried {
        public Committing {
            waiting = Sorted.set(waiting);
            archive = List.copyOf(archive);
            retries = Sorted.map(retries);
        }

        @Override
        public Committing again(Retry retry, Span other) {
            return new Committing(
                    other,
                    waiting,
                    manifest,
                    archive,
                    Sorted.with(retries, retry.why().host(), retry));
        }

        /** The manifest is written. */
        Completed complete(Instant now, PublicEvent.CheckpointCompleted outcome, CheckpointView entry) {
            return new Completed(now, false, outcome, entry);
        }

        @Override
        public Committing within(Span other) {
            return new Committing(other, waiting, manifest, archive, retries);
        }

        @Override
        public String phase() {
            return Phases.COMMIT;
        }
    }

    /** What was there under the name is destroyed on its old hosts; each answers Destroyed. */
    record Clearing(Span span, SortedSet<String> waiting, SortedSet<String> hosts) implements Forward {
        public Clearing {
            waiting = Sorted.set(waiting);
            hosts = Sorted.set(hosts);
        }

        Clearing destroyed(String host) {
            return new Clearing(span, Sorted.without(waiting, host), hosts);
        }

        Pulling pull(Span next, List<String> newHosts) {
            requireAnswered();
            return new Pulling(next, Sorted.set(newHosts));
        }

        @Override
        public Clearing within(Span other) {
            return new Clearing(other, waiting, hosts);
        }

        @Override
        public String phase() {
            return Phases.CLEAR;
        }
    }

    /** Pull was commanded; each host's storage service answers Pulled. */
    record Pulling(Span span, SortedSet<String> waiting) implements Forward {
        public Pulling {
            waiting = Sorted.set(waiting);
        }

        Pulling pulled(String host) {
            return new Pulling(span, Sorted.without(waiting, host));
        }

        Loading load(Span next, List<String> hosts) {
            requireAnswered();
            return new Loading(next, Sorted.set(hosts));
        }

        @Override
        public Pulling within(Span other) {
            return new Pulling(other, waiting);
        }

        @Override
        public String phase() {
            return Phases.PULL;
        }
    }

    /** Load was commanded; each host answers Loaded, its VMs stand. */
    record Loading(Span span, SortedSet<String> waiting) implements Forward {
        public Loading {
            waiting = Sorted.set(waiting);
        }

        Loading loaded(String host) {
            return new Loading(span, Sorted.without(waiting, host));
        }

        /** Every host has loaded: all run together. */
        Resuming resume(Span next, List<String> hosts, long startAtMicros) {
            requireAnswered();
            return new Resuming(next, Sorted.set(hosts), startAtMicros, Sorted.map(null));
        }

        @Override
        public Loading within(Span other) {
            return new Loading(other, waiting);
        }

        @Override
        public String phase() {
            return Phases.LOAD;
        }
    }

    /** Resume was commanded; each host answers Resumed. */
    record Resuming(Span span, SortedSet<String> waiting, long startAtMicros, SortedMap<String, List<VmState>> vms)
            implements Forward {
        public Resuming {
            waiting = Sorted.set(waiting);
            vms = Sorted.map(vms);
        }

        Resuming resumed(String host, List<VmState> states) {
            return new Resuming(span, Sorted.without(waiting, host), startAtMicros, Sorted.with(vms, host, states));
        }

        @Override
        public Resuming within(Span other) {
            return new Resuming(other, waiting, startAtMicros, vms);
        }

        @Override
        public String phase() {
            return Phases.RESUME;
        }
    }

    /** Destroy was commanded; each host answers Destroyed, or says why not: the others are waited for all the same. */
    record Destroying(Span span, SortedSet<String> waiting, List<PublicEvent.HostFailure> failures) implements Forward {
        public Destroying {
            waiting = Sorted.set(waiting);
            failures = List.copyOf(failures);
        }

        static Destroying begin(Span span, java.util.Collection<String> hosts) {
            return new Destroying(span, Sorted.set(hosts), List.of());
        }

        Destroying destroyed(String host) {
            return new Destroying(span, Sorted.without(waiting, host), failures);
        }

        Destroying failed(PublicEvent.HostFailure failure) {
            var more = new java.util.ArrayList<>(failures);
            more.add(failure);
            return new Destroying(span, Sorted.without(waiting, failure.host()), more);
        }

        @Override
        public Destroying within(Span other) {
            return new Destroying(other, waiting, failures);
        }

        @Override
        public String phase() {
            return Phases.DESTROY;
        }
    }

    /**
     * Work on the repository was commanded to one storage service, which answers how it ended.
     *
     * @param task name of the phase: that of the operation's kind
     */
    record Maintaining(Span span, SortedSet<String> waiting, String task) implements Forward {
        public Maintaining {
            waiting = Sorted.set(waiting);
        }

        /** It is done. {@code entry} is what changes in the catalog, or null. */
        Completed complete(Instant now, PublicEvent outcome, CheckpointView entry) {
            return new Completed(now, false, outcome, entry);
        }

        @Override
        public Maintaining within(Span other) {
            return new Maintaining(other, waiting, task);
        }

        @Override
        public String phase() {
            return task;
        }
    }

    /** A checkpoint is given up: Abort was commanded to all hosts; each answers Aborted. */
    record Aborting(Span span, SortedSet<String> waiting, Cause cause) implements Retreat {
        public Aborting {
            waiting = Sorted.set(waiting);
        }

        @Override
        public Aborting because(Cause more) {
            return new Aborting(span, waiting, more);
        }

        Aborting aborted(String host) {
            return new Aborting(span, Sorted.without(waiting, host), cause);
        }

        @Override
        public Aborting within(Span other) {
            return new Aborting(other, waiting, cause);
        }

        @Override
        public String phase() {
            return Phases.ABORT;
        }
    }

    /**
     * A deploy or restore is given up: Destroy was commanded to all hosts; each answers Destroyed.
     *
     * @param attempt attempt number of the Destroy commands: 2 of a restore, whose Clearing may have had 1; so storage services know
     *     that it ends their pull
     */
    record Undoing(Span span, SortedSet<String> waiting, SortedSet<String> hosts, int attempt, Cause cause)
            implements Retreat {
        public Undoing {
            waiting = Sorted.set(waiting);
            hosts = Sorted.set(hosts);
        }

        @Override
        public Undoing because(Cause more) {
            return new Undoing(span, waiting, hosts, attempt, more);
        }

        Undoing destroyed(String host) {
            return new Undoing(span, Sorted.without(waiting, host), hosts, attempt, cause);
        }

        @Override
        public Undoing within(Span other) {
            return new Undoing(other, waiting, hosts, attempt, cause);
        }

        @Override
        public String phase() {
            return Phases.UNDO;
        }
    }

    /**
     * Done.
     *
     * @param entry what has to come into the catalog: of a checkpoint, a hold, a release; null for other kinds, and once it is announced
     */
    record Completed(Instant endedAt, boolean announced, PublicEvent outcome, CheckpointView entry) implements Ended {
        static Completed of(Instant now, PublicEvent outcome) {
            return new Completed(now, false, outcome, null);
        }

        @Override
        public String phase() {
            return "completed";
        }

        @Override
        public Completed asAnnounced() {
            return new Completed(endedAt, true, outcome, null);
        }
    }

    /** Failed; VMs that ran before run on. */
    record Failed(Instant endedAt, boolean announced, PublicEvent outcome) implements Ended {
        @Override
        public String phase() {
            return failure().phase();
        }

        /** The outcome. */
        @JsonIgnore
        public PublicEvent.Failed failure() {
            return (PublicEvent.Failed) outcome;
        }

        @Override
        public Failed asAnnounced() {
            return new Failed(endedAt, true, outcome);
        }
    }
}
