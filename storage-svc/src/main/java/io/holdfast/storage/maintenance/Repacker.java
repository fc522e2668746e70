package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.app.Progress;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ChunkIndex;
import io.holdfast.storage.domain.Keys;
import io.holdfast.storage.domain.Limits;
import io.holdfast.storage.domain.LongSet;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.PackFormat;
import io.holdfast.storage.domain.PackFormat.Entry;
import io.holdfast.storage.domain.PackFormat.Table;
import io.holdfast.storage.domain.StorageException;
import io.holdfast.storage.domain.Vault;
import java.util.ArrayList;
import java.util.List;
import org.jboss.logging.Logger;

/**
 * Copies what is needed of packs into new ones, as it is stored: nothing is decrypted or compressed anew. Each pack is read whole and checked by
 * its digest first. It deletes nothing: when it has ended, what it copied is in packs that an index names; cut off before, it leaves garbage.
 *
 * <p>One pack at a time: an archive may be at work in the same heap, and nobody waits for a prune. Memory: two packs, and the tables of new packs until they are indexed (8 MiB at most).
 */
final class Repacker {
    private static final Logger LOG = Logger.getLogger(Repacker.class);

    private final ObjectStore store;
    private final Keys keys;
    private final Survey survey;
    private final Keeper.Repack policy;

    Repacker(ObjectStore store, Keys keys, Survey survey, Keeper.Repack policy) {
        this.store = store;
        this.keys = keys;
        this.survey = survey;
        this.policy = policy;
    }

    /**
     * What was done.
     *
     * @param emptied packs of which every needed chunk is in a pack that an index names, besides them
     */
    record Done(List<ChunkId> emptied, long newBytes) {}

    /** One run. */
    private final class Job {
        final List<ChunkId> packs;
        final LongSet needed;
        /** Chunks that are elsewhere or under way there. */
        final ChunkIndex elsewhere;

        final Vault vault;
        final int chunkBytes;
        final Progress progress;
        final List<ChunkId> emptied = new ArrayList<>();
        final List<Table> tables = new ArrayList<>();
        long tableBytes;
        long newBytes;

        Job(List<ChunkId> packs, LongSet needed, ChunkIndex elsewhere, Progress progress) throws StorageException {
            this.progress = progress;
            this.packs = packs;
            this.needed = needed;
            this.elsewhere = elsewhere;
            this.vault = survey.vault();
            this.chunkBytes = survey.chunkBytes();
        }

        void work() throws StorageException {
            var builder = new PackFormat.Builder(policy.packBytes(), chunkBytes, vault);
            for (ChunkId pack : packs) {
                one(pack, builder);
                progress.add(1);
            }
            if (!builder.isEmpty()) {
                put(builder);
            }
        }

        private void one(ChunkId pack, PackFormat.Builder builder) throws StorageException {
            String key = keys.pack(pack);
            byte[] data;
            Table t;
            try {
                data = store.get(key, Limits.MAX_PACK);
                t = PackFormat.read(key, pack, data, vault);
            } catch (StorageException e) {
                if (e.code() != ErrorCode.REPOSITORY_CORRUPT) {
                    throw e;
                }
                LOG.warnf("event=not-repacked pack=%s reason=\"%s\"", pack, e.getMessage());
                return; // it stays as it is: verify names it
            }
            var mine = new ArrayList<Entry>();
            for (Entry e : t.content()) {
                if (needed.contains(e.id()) && !elsewhere.contains(e.id())) {
                    mine.add(e);
                }
            }
            elsewhere.add(new Table(pack, mine));
            int at = PackFormat.HEADER;
            int taken = 0;
            for (Entry e : t.content()) {
                if (taken < mine.size() && mine.get(taken).equals(e)) {
                    taken++;
                    builder.addStored(e, data, at);
                    if (builder.isFull()) {
                        put(builder);
                    }
                }
                at += e.storedBytes();
            }
            emptied.add(pack);
        }

        private void put(PackFormat.Builder builder) throws StorageException {
            Table t = builder.seal();
            store.put(keys.pack(t.id()), builder.bytes(), 0, builder.length(), t.id());
            newBytes += builder.length();
            tables.add(t);
            tableBytes +=
                    ChunkId.BYTES + 4 + (long) PackFormat.ENTRY * t.entries().size();
            if (tableBytes >= Survey.INDEX_BYTES) {
                index();
            }
            builder.clear();
        }

        void index() throws StorageException {
            if (!tables.isEmpty()) {
                survey.storeIndex(tables, false);
                tables.clear();
                tableBytes = 0;
            }
        }
    }

    /**
     * Copies.
     *
     * @param packs to be emptied
     * @param needed chunks that are needed
     * @param elsewhere chunks that other packs have, which stay; those that are copied are added
     */
    Done empty(List<ChunkId> packs, LongSet needed, ChunkIndex elsewhere, Progress progress) throws StorageException {
        Job job = new Job(packs, needed, elsewhere, progress);
        job.work();
        job.index();
        return new Done(List.copyOf(job.emptied), job.newBytes);
    }
}
