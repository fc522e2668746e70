package io.holdfast.schemas.event;

import java.time.Instant;
import java.util.List;

/** What operations on the repository find and do; in reports and in the events that end them. */
public final class Maintenance {
    private Maintenance() {}

    /**
     * An object of the repository that is not what it must be, and who suffers.
     *
     * @param key S3 key of the object
     * @param what missing, truncated, corrupt, unindexed (chunks that no index names), unreadable (a version or key
     *     that the service does not have) or other (the config of another repository)
     * @param checkpoints checkpoints that need it, the first 50
     * @param checkpointsInAll how many need it
     */
    public record Damage(String key, String what, String message, List<String> checkpoints, int checkpointsInAll) {
        public Damage {
            checkpoints = List.copyOf(checkpoints);
        }
    }

    /**
     * What a verify found.
     *
     * @param checkpoint the one that was looked at, null: all
     * @param samplePercent part of the packs that was read
     * @param chunks different chunks that the manifests name
     * @param packs packs looked for
     * @param packsRead packs read whole
     * @param damages the first 100
     * @param damagedCheckpoints checkpoints that cannot be restored whole, the first 1000
     */
    public record VerifyResult(
            String checkpoint,
            int samplePercent,
            int checkpoints,
            int vms,
            long chunks,
            int packs,
            int packsRead,
            long bytesRead,
            boolean sound,
            List<Damage> damages,
            int damagesInAll,
            List<String> damagedCheckpoints) {
        public VerifyResult {
            damages = List.copyOf(damages);
            damagedCheckpoints = List.copyOf(damagedCheckpoints);
        }
    }

    /**
     * A checkpoint that a forget looked at.
     *
     * @param instance null where no manifest of it was there, or none that can be read
     * @param takenAt null as the instance is
     * @param reasons why it is kept (last, hourly, daily, weekly, monthly, held, in use, retained); empty when forgotten
     */
    public record ForgetEntry(String checkpoint, String instance, Instant takenAt, List<String> reasons) {
        public ForgetEntry {
            reasons = List.copyOf(reasons);
        }
    }

    /**
     * What a forget did, or would do.
     *
     * @param kept the first 1000
     * @param more checkpoints left for the next forget
     * @param keptInAll how many are kept; null where all of them are named
     */
    public record ForgetResult(
            boolean dryRun, List<ForgetEntry> forgotten, List<ForgetEntry> kept, int more, Integer keptInAll) {
        public ForgetResult {
            forgotten = List.copyOf(forgotten);
            kept = List.copyOf(kept);
        }

        /** How many are kept, those that are not named too. */
        public int allKept() {
            return keptInAll == null ? kept.size() : keptInAll;
        }
    }

    /**
     * What a prune did, or would do. Bytes are of pack objects.
     *
     * @param livePacks packs that a manifest needs
     * @param deadBytes bytes in them that no manifest needs
     * @param markedPacks packs that nobody needs, marked by this prune
     * @param waitingPacks packs marked earlier whose grace period is not over, or that S3 Object Lock retains
     * @param deletedManifests VM manifests of no checkpoint that were deleted
     * @param repackedPacks packs of which little was needed, and that were marked when it was in others; not among {@code livePacks}
     * @param repackedBytes bytes of them; null from a service that did not repack yet
     * @param copiedBytes bytes of the packs that were written for them; null as before
     * @param nextAt when the grace period of what is marked first is over, null when nothing is
     */
    public record PruneResult(
            boolean dryRun,
            int livePacks,
            long liveBytes,
            long deadBytes,
            int markedPacks,
            long markedBytes,
            int waitingPacks,
            long waitingBytes,
            int deletedPacks,
            long deletedBytes,
            int deletedManifests,
            int indexesRewritten,
            int repackedPacks,
            Long repackedBytes,
            Long copiedBytes,
            long graceSeconds,
            Instant nextAt) {}

    /** An instance's checkpoints; {@code uniqueBytes} are of different chunks, before compression. */
    public record InstanceStats(
            String instance, int checkpoints, long logicalBytes, long dataBytes, long uniqueBytes) {}

    /**
     * What the repository holds.
     *
     * @param logicalBytes bytes of the images, holes included
     * @param dataBytes bytes that are not zero
     * @param uniqueBytes bytes of different chunks that checkpoints need, before compression
     * @param storedBytes bytes of all objects
     * @param neededBytes bytes of packs that checkpoints need
     * @param garbageBytes bytes of packs that no checkpoint needs
     * @param ratioPercent storedBytes in percent of dataBytes
     */
    public record StatsResult(
            int checkpoints,
            int vms,
            long logicalBytes,
            long dataBytes,
            long uniqueBytes,
            long storedBytes,
            long neededBytes,
            long garbageBytes,
            long ratioPercent,
            long chunks,
            int packs,
            int indexes,
            List<InstanceStats> instances) {
        public StatsResult {
            instances = List.copyOf(instances);
        }
    }

    /**
     * What a rebuild found and did, or would do.
     *
     * @param packsIndexed packs that no readable index named
     * @param indexesRemoved indexes that were broken or named packs that are gone
     * @param checkpoints checkpoints of the bucket, the first 10,000 by their names
     * @param damages objects that could not be read, the first 100
     * @param checkpointsInAll how many there are; null where all of them are named
     */
    public record RebuildResult(
            boolean dryRun,
            int packs,
            int packsIndexed,
            int indexesWritten,
            int indexesRemoved,
            List<String> checkpoints,
            List<Damage> damages,
            int damagesInAll,
            Integer checkpointsInAll) {
        public RebuildResult {
            checkpoints = List.copyOf(checkpoints);
            damages = List.copyOf(damages);
        }

        /** How many there are, those that are not named too. */
        public int allCheckpoints() {
            return checkpointsInAll == null ? checkpoints.size() : checkpointsInAll;
        }

        /** Whether it says of a name if there is such a checkpoint: not of those that come after the last of those that it names, where it does not name all. */
        public boolean tellsOf(String checkpoint) {
            return allCheckpoints() == checkpoints.size() || checkpoint.compareTo(checkpoints.getLast()) <= 0;
        }
    }
}
