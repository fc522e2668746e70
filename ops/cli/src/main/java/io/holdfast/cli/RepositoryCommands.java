package io.holdfast.cli;

import io.holdfast.schemas.event.KeepPolicy;
import io.holdfast.schemas.event.Maintenance.Damage;
import io.holdfast.schemas.event.Maintenance.ForgetEntry;
import io.holdfast.schemas.event.Maintenance.ForgetResult;
import io.holdfast.schemas.event.Maintenance.PruneResult;
import io.holdfast.schemas.event.Maintenance.RebuildResult;
import io.holdfast.schemas.event.Maintenance.StatsResult;
import io.holdfast.schemas.event.Maintenance.VerifyResult;
import io.holdfast.schemas.event.Request;
import io.holdfast.schemas.view.OperationView;
import java.io.PrintStream;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.format.DateTimeParseException;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The commands that keep the repository. */
final class RepositoryCommands {
    private RepositoryCommands() {}

    private static void damages(List<Damage> list, int inAll, PrintStream out) {
        Table t = new Table("OBJECT", "WHAT", "CHECKPOINTS", "MESSAGE");
        list.forEach(d -> t.row(
                d.key(),
                d.what(),
                d.checkpointsInAll() == 0 ? null : shortened(d.checkpoints(), d.checkpointsInAll()),
                withoutKey(d)));
        t.print(out);
        if (inAll > list.size()) {
            out.println("... and " + (inAll - list.size()) + " more");
        }
    }

    /** What is wrong with an object; which one is in a column of its own. */
    private static String withoutKey(Damage d) {
        String prefix = "object " + d.key() + ": ";
        return d.message() != null && d.message().startsWith(prefix)
                ? d.message().substring(prefix.length())
                : d.message();
    }

    private static String shortened(List<String> names, int inAll) {
        int n = Math.min(3, names.size());
        return String.join(",", names.subList(0, n)) + (inAll > n ? " and " + (inAll - n) + " more" : "");
    }

    @Command(
            name = "verify",
            description = {
                "Looks whether what the repository holds can be restored.",
                "Reads every manifest and index, looks for every pack, and reads packs whole. Exit code 1 when it is damaged."
            },
            mixinStandardHelpOptions = true)
    static final class Verify extends OperationCommand {
        @Parameters(paramLabel = "CHECKPOINT", arity = "0..1", description = "Only what that checkpoint needs.")
        private String checkpoint;

        @Option(
                names = "--sample",
                paramLabel = "N%",
                description =
                        "Read only that part of the packs whole; of the others look only whether they are there. 0 reads none.")
        private String sample;

        @Override
        Request request() {
            return new Request.Verify(checkpoint, percent());
        }

        @Override
        int exitCode(OperationView end) {
            return result(end, VerifyResult.class).sound() ? 0 : ApiException.Kind.FAILED.exitCode();
        }

        /** Says no more than what was looked at. */
        private static String sound(VerifyResult r) {
            String what = r.checkpoint() == null ? "the repository" : "checkpoint " + r.checkpoint();
            return r.packsRead() == r.packs()
                    ? what + " is sound"
                    : r.packsRead() == 0
                            ? "every pack is there, but NONE WAS READ: whether they hold what they must is not known"
                            : what + " is sound as far as it was read: of the other " + (r.packs() - r.packsRead())
                                    + " packs only that they are there";
        }

        private Integer percent() {
            if (sample == null) {
                return null;
            }
            String digits = sample.endsWith("%") ? sample.substring(0, sample.length() - 1) : sample;
            if (!digits.matches("[0-9]{1,3}") || Integer.parseInt(digits) > 100) {
                throw misused("not a part in percent: '" + sample + "', say --sample 10%");
            }
            return Integer.valueOf(digits);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            VerifyResult r = result(end, VerifyResult.class);
            out.printf(
                    "%d checkpoints, %d VMs, %d chunks; %d packs looked for, %d of them read (%s)%n",
                    r.checkpoints(), r.vms(), r.chunks(), r.packs(), r.packsRead(), Text.bytes(r.bytesRead()));
            if (r.sound()) {
                out.println(sound(r));
                return;
            }
            damages(r.damages(), r.damagesInAll(), out);
            out.println(
                    r.damagedCheckpoints().isEmpty()
                            ? "DAMAGED, but no checkpoint needs what is broken"
                            : "DAMAGED: cannot be restored whole: " + String.join(", ", r.damagedCheckpoints()));
        }
    }

    @Command(
            name = "forget",
            description = {
                "Removes checkpoints: those named, or of each instance those that no --keep option keeps.",
                "Held checkpoints stay. Space is freed by a prune afterwards."
            },
            mixinStandardHelpOptions = true)
    static final class Forget extends OperationCommand {
        @Parameters(paramLabel = "CHECKPOINT", arity = "0..*", description = "Checkpoints to remove.")
        private List<String> checkpoints = List.of();

        @Option(names = "--instance", paramLabel = "NAME", description = "Only checkpoints of that instance.")
        private String instance;

        @Option(names = "--keep-last", paramLabel = "N", description = "Keep the newest N.")
        private Integer last;

        @Option(names = "--keep-hourly", paramLabel = "N", description = "Keep the newest of each of the last N hours.")
        private Integer hourly;

        @Option(names = "--keep-daily", paramLabel = "N", description = "The same by days (UTC).")
        private Integer daily;

        @Option(names = "--keep-weekly", paramLabel = "N", description = "The same by ISO weeks.")
        private Integer weekly;

        @Option(names = "--keep-monthly", paramLabel = "N", description = "The same by months.")
        private Integer monthly;

        @Option(names = "--dry-run", description = "Only say what would go.")
        private boolean dryRun;

        @Override
        Request request() {
            KeepPolicy keep = new KeepPolicy(last, hourly, daily, weekly, monthly);
            if (checkpoints.isEmpty() == keep.keepsNothing()) {
                throw misused("name either the checkpoints to forget, or what to keep: --keep-last, --keep-daily ...");
            }
            return keep.keepsNothing()
                    ? new Request.Forget(checkpoints, null, null, dryRun)
                    : new Request.Forget(null, instance, keep, dryRun);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            ForgetResult r = result(end, ForgetResult.class);
            Table t = new Table("CHECKPOINT", "INSTANCE", "TAKEN", r.dryRun() ? "WOULD BE" : "IS", "BECAUSE");
            r.kept().forEach(e -> row(t, e, "kept"));
            r.forgotten().forEach(e -> row(t, e, "forgotten"));
            if (r.kept().isEmpty() && r.forgotten().isEmpty()) {
                out.println("no checkpoint " + (instance == null ? "" : "of instance " + instance + " ")
                        + "is in the repository");
                return;
            }
            t.print(out);
            out.printf(
                    "%d %s, %d kept%s%n",
                    r.forgotten().size(),
                    r.dryRun() ? "would be forgotten" : "forgotten",
                    r.allKept(),
                    r.more() > 0 ? "; " + r.more() + " more are for the next forget" : "");
        }

        private static void row(Table t, ForgetEntry e, String what) {
            String why = e.instance() == null && e.reasons().isEmpty()
                    ? "no manifest of it was there that can be read"
                    : String.join(",", e.reasons());
            t.row(e.checkpoint(), e.instance(), Text.time(e.takenAt()), what, why);
        }
    }

    @Command(
            name = "prune",
            description = {
                "Deletes what no checkpoint needs.",
                "Packs of which little is needed are rewritten: what is needed of them is copied to new ones.",
                "Marks it first; what an earlier prune marked longer ago than the grace period, and nobody needs still, is deleted."
            },
            mixinStandardHelpOptions = true)
    static final class Prune extends OperationCommand {
        @Option(names = "--dry-run", description = "Only say what would be done.")
        private boolean dryRun;

        @Override
        Request request() {
            return new Request.Prune(dryRun);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            PruneResult r = result(end, PruneResult.class);
            Table t = new Table("PACKS", "NUMBER", "BYTES");
            t.row("needed", r.livePacks(), Text.bytes(r.liveBytes()));
            t.row(r.dryRun() ? "would be marked" : "marked", r.markedPacks(), Text.bytes(r.markedBytes()));
            if (r.repackedPacks() > 0) {
                t.row(
                        r.dryRun() ? "would be repacked" : "repacked",
                        r.repackedPacks(),
                        r.repackedBytes() == null ? null : Text.bytes(r.repackedBytes()));
            }
            t.row("waiting", r.waitingPacks(), Text.bytes(r.waitingBytes()));
            t.row(r.dryRun() ? "would be deleted" : "deleted", r.deletedPacks(), Text.bytes(r.deletedBytes()));
            t.print(out);
            out.printf(
                    "%s in needed packs is needed by nobody; %d VM manifests of no checkpoint %s%n",
                    Text.bytes(r.deadBytes()), r.deletedManifests(), r.dryRun() ? "would be deleted" : "deleted");
            if (r.copiedBytes() != null && r.repackedPacks() > 0) {
                out.printf(
                        "of the repacked packs %s %s; they go as what is marked does%n",
                        Text.bytes(r.copiedBytes()),
                        r.dryRun() ? "would be written anew" : "were written anew: all that is needed of them");
            }
            if (r.nextAt() != null) {
                out.printf(
                        "what is marked is deleted by a prune after %s (grace period %s)%n",
                        Text.time(r.nextAt()),
                        Text.millis(Duration.ofSeconds(r.graceSeconds()).toMillis()));
            }
        }
    }

    @Command(name = "stats", description = "Says what the repository holds.", mixinStandardHelpOptions = true)
    static final class Stats extends OperationCommand {
        @Parameters(paramLabel = "NAME", arity = "0..1", description = "Of the instances only that one.")
        private String instance;

        @Override
        Request request() {
            return new Request.Stats(instance);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            StatsResult r = result(end, StatsResult.class);
            Table t = new Table("INSTANCE", "CHECKPOINTS", "LOGICAL", "DATA", "UNIQUE");
            r.instances()
                    .forEach(i -> t.row(
                            i.instance(),
                            i.checkpoints(),
                            Text.bytes(i.logicalBytes()),
                            Text.bytes(i.dataBytes()),
                            Text.bytes(i.uniqueBytes())));
            t.print(out);
            if (instance != null && r.instances().isEmpty()) {
                out.println("no checkpoint of instance " + instance + " is in the repository");
            }
            out.printf(
                    "in all %d checkpoints of %d VMs: %s logical, %s without zeros, %s unique, %s stored: %d %% of the data%n",
                    r.checkpoints(),
                    r.vms(),
                    Text.bytes(r.logicalBytes()),
                    Text.bytes(r.dataBytes()),
                    Text.bytes(r.uniqueBytes()),
                    Text.bytes(r.storedBytes()),
                    r.ratioPercent());
            out.printf(
                    "%d chunks in %d packs, %d indexes; packs: %s needed, %s garbage%n",
                    r.chunks(), r.packs(), r.indexes(), Text.bytes(r.neededBytes()), Text.bytes(r.garbageBytes()));
        }
    }

    @Command(
            name = "hold",
            description = "Holds a checkpoint: no forget removes it until it is released.",
            mixinStandardHelpOptions = true)
    static final class Hold extends OperationCommand {
        @Parameters(paramLabel = "CHECKPOINT", description = "Its id, as holdfast checkpoints lists it.")
        private String checkpoint;

        @Option(names = "--reason", paramLabel = "TEXT", description = "Free text.")
        private String reason;

        @Option(
                names = "--until",
                paramLabel = "TIME",
                description =
                        "Lock its objects in the bucket until then (2027-01-31T00:00:00Z), where it has S3 Object Lock."
                                + " Nobody can undo that.")
        private String until;

        @Override
        Request request() {
            return new Request.Hold(checkpoint, reason, time());
        }

        @Override
        void print(OperationView end, PrintStream out) {
            out.println(checkpoint + " is held: " + end.completed().path("note").asText());
        }

        private Instant time() {
            try {
                return until == null ? null : OffsetDateTime.parse(until).toInstant();
            } catch (DateTimeParseException e) {
                throw misused("not a time: '" + until + "', say 2027-01-31T00:00:00Z");
            }
        }
    }

    @Command(
            name = "release",
            description = "Releases a held checkpoint. A lock in the bucket stays until its time.",
            mixinStandardHelpOptions = true)
    static final class Release extends OperationCommand {
        @Parameters(paramLabel = "CHECKPOINT", description = "Its id, as holdfast checkpoints lists it.")
        private String checkpoint;

        @Override
        Request request() {
            return new Request.Release(checkpoint);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            out.println(checkpoint + " is held no more");
        }
    }

    @Command(
            name = "rebuild",
            description = "Makes the index of the packs, and the list of checkpoints, anew from the bucket alone.",
            mixinStandardHelpOptions = true)
    static final class Rebuild extends OperationCommand {
        @Option(names = "--dry-run", description = "Only say what would be done.")
        private boolean dryRun;

        @Override
        Request request() {
            return new Request.Rebuild(dryRun);
        }

        @Override
        void print(OperationView end, PrintStream out) {
            RebuildResult r = result(end, RebuildResult.class);
            out.printf(
                    "%d packs, %d of them in no index until now; indexes: %d %s, %d %s; %d checkpoints%n",
                    r.packs(),
                    r.packsIndexed(),
                    r.indexesWritten(),
                    r.dryRun() ? "would be written" : "written",
                    r.indexesRemoved(),
                    r.dryRun() ? "would be removed" : "removed",
                    r.allCheckpoints());
            if (r.damagesInAll() > 0) {
                damages(r.damages(), r.damagesInAll(), out);
            }
        }
    }
}
