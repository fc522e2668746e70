package io.holdfast.storage.domain;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** Tells where a file has data. */
public interface SparseMap {
    /** The extents of the file that may hold other than zeros, ascending, apart. Reading the rest gives zeros. */
    List<Extent> extents(Path file) throws IOException;

    /** Bytes {@code from} to {@code to} (not included). */
    record Extent(long from, long to) {}
}
