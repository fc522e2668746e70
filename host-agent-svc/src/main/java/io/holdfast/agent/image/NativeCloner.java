package io.holdfast.agent.image;

import io.holdfast.agent.nat.Native;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Copies files by reflink where the file system can, else data only. Thread-safe. */
public final class NativeCloner implements FileCloner {
    private static final int O_RDONLY = 0;
    private static final int O_WRONLY = 1;
    private static final int O_CREAT = 0100;
    private static final int O_EXCL = 0200;

    @Override
    public boolean copy(Path from, Path to) throws IOException {
        int in = Native.open(from, O_RDONLY, 0);
        try {
            int out = Native.open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
            try {
                boolean shared = Native.reflink(in, out);
                if (!shared) {
                    long ignored = Native.copySparse(in, out);
                }
                return shared;
            } finally {
                Native.close(out);
            }
        } finally {
            Native.close(in);
        }
    }

    @Override
    public boolean shares(Path from, Path to) {
        Path a = from.resolve(".holdfast-reflink-" + ProcessHandle.current().pid() + "-" + System.nanoTime());
        Path b = to.resolve(a.getFileName() + "-copy");
        try {
            Files.write(a, new byte[RamBlock.PAGE]);
            return copy(a, b);
        } catch (IOException e) {
            return false;
        } finally {
            try {
                Files.deleteIfExists(a);
                Files.deleteIfExists(b);
            } catch (IOException e) {
                // a temporary file stays: of no effect
            }
        }
    }
}
