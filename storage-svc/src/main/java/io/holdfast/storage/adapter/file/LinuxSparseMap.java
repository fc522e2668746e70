package io.holdfast.storage.adapter.file;

import io.holdfast.storage.domain.SparseMap;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Runtime;
import org.jboss.logging.Logger;

/** {@code lseek} with SEEK_DATA and SEEK_HOLE; where the file system knows no holes, the whole file is one extent. */
public final class LinuxSparseMap implements SparseMap {
    private static final Logger LOG = Logger.getLogger(LinuxSparseMap.class);
    private static final int O_RDONLY = 0;
    private static final int O_CLOEXEC = 0x80000;
    private static final int SEEK_DATA = 3;
    private static final int SEEK_HOLE = 4;
    private static final int ENXIO = 6;

    /** What is used of the C library. */
    public interface LibC {
        int open(String path, int flags);

        int close(int fd);

        long lseek64(int fd, long offset, int whence);
    }

    private static final class Loaded {
        private static final LibC LIBC = load();

        private static LibC load() {
            try {
                return LibraryLoader.create(LibC.class).load("c");
            } catch (LinkageError | RuntimeException e) {
                LOG.warnf(e, "event=no-sparse-map consequence=\"files are read whole, holes too\"");
                return null;
            }
        }
    }

    @Override
    public List<Extent> extents(Path file) throws IOException {
        long size = Files.size(file);
        if (size == 0) {
            return List.of();
        }
        LibC c = Loaded.LIBC;
        if (c == null) {
            return List.of(new Extent(0, size));
        }
        int fd = c.open(file.toString(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return List.of(new Extent(0, size));
        }
        try {
            List<Extent> list = new ArrayList<>();
            long at = 0;
            while (at < size) {
                long data = c.lseek64(fd, at, SEEK_DATA);
                if (data < 0) {
                    // ENXIO: only a hole is left; anything else: holes are not known here
                    if (Runtime.getSystemRuntime().getLastError() != ENXIO) {
                        list.add(new Extent(at, size));
                    }
                    break;
                }
                long hole = c.lseek64(fd, data, SEEK_HOLE);
                if (hole <= data) {
                    hole = size;
                }
                list.add(new Extent(data, Math.min(hole, size)));
                at = hole;
            }
            return list;
        } finally {
            c.close(fd);
        }
    }
}
