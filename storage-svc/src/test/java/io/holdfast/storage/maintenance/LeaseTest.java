package io.holdfast.storage.maintenance;

import static io.holdfast.storage.maintenance.SimRepository.KEYS;
import static io.holdfast.storage.maintenance.SimRepository.id;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.storage.app.Indexes;
import io.holdfast.storage.app.Lease;
import io.holdfast.storage.app.Leases;
import io.holdfast.storage.domain.PackFormat.Table;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What an archive goes by stays the same while others of the same service, and of the bucket, are at work. */
class LeaseTest {
    @TempDir
    Path state;

    private SimRepository r;
    private Indexes indexes;

    @BeforeEach
    void make() throws Exception {
        r = new SimRepository();
        indexes = new Indexes(r.store, KEYS, r.repository, state);
    }

    private Lease lease() throws Exception {
        return new Leases(r.store, KEYS, r.repository).begin(indexes);
    }

    @Test
    void anIndexThatIsReplacedWhileAnArchiveIsAtWork_andAPullThatReadsThemAnew_takeNothingFromTheArchive()
            throws Exception {
        Table a = r.pack(1);
        String first = r.index(a, r.pack(2));
        try (Lease lease = lease()) {
            assertThat(lease.has(id(1))).isTrue();

            // another host stored the same in a pack that the archive may not count on; the index of ours is about to
            // be written anew
            r.store.delete(first);
            r.index(r.pack(1, 2));
            indexes.refresh();

            assertThat(lease.has(id(1))).isTrue();
            assertThat(lease.has(id(2))).isTrue();
            assertThat(lease.vanished()).isEmpty();
        }

        // when it has ended, what no index names is forgotten
        r.index(a);
        indexes.refresh();
        assertThat(indexes.find(id(1))).isNotNull();
        r.store.keys(KEYS.indexes()).forEach(r.store::delete);
        indexes.refresh();
        assertThat(indexes.find(id(1))).isNull();
        assertThat(indexes.chunks()).isZero();
    }

    @Test
    void whileIndexesAreReadAnewEverythingIsFound() throws Exception {
        Table a = r.pack(1);
        String first = r.index(a);
        indexes.refresh();
        r.index(a, r.pack(2));
        r.store.delete(first);
        List<Boolean> found = new ArrayList<>();
        r.store.onGet = key -> found.add(indexes.contains(id(1)));

        indexes.refresh();

        assertThat(found).containsExactly(true);
        assertThat(indexes.contains(id(2))).isTrue();
        try (var copies = Files.list(state.resolve("index-cache"))) {
            assertThat(copies.map(c -> KEYS.indexes() + c.getFileName()))
                    .as("no copy stays of an index that is gone")
                    .containsExactlyElementsOf(r.store.keys(KEYS.indexes()));
        }
    }

    @Test
    void whatCannotBeReadAnewLeavesWhatIsKnown() throws Exception {
        Table a = r.pack(1);
        String first = r.index(a);
        indexes.refresh();
        r.store.delete(first);
        r.store.put(KEYS.indexes() + id(7).hex(), new byte[10], 0, 10);

        assertThatThrownBy(indexes::refresh).hasMessageContaining(id(7).hex());

        assertThat(indexes.contains(id(1))).isTrue();
    }
}
