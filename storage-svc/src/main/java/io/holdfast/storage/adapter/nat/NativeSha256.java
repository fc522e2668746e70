package io.holdfast.storage.adapter.nat;

import io.holdfast.nat.NativeFiles;
import io.holdfast.storage.domain.Sha256Pair;
import java.util.Objects;
import jnr.ffi.annotations.Pinned;
import org.jboss.logging.Logger;

/** Two digests at a time by libholdfast, with the SHA extensions of x86 processors. Without them, or without the library, it is not able. */
public final class NativeSha256 implements Sha256Pair {
    private static final Logger LOG = Logger.getLogger(NativeSha256.class);
    private static final long BLOCK = 64;
    private static final int WORDS = 16;

    /** What is used of libholdfast. Arrays are pinned, not copied: the collector waits while one call runs, some 40 µs for a chunk. */
    @SuppressWarnings("checkstyle:MethodName")
    public interface Lib {
        int hf_abi();

        int hf_sha256_two_able();

        int hf_sha256_two(
                @Pinned int[] states, @Pinned byte[] a, long aOffset, @Pinned byte[] b, long bOffset, int blocks);
    }

    private final Lib lib;

    public NativeSha256() {
        lib = load();
    }

    private static Lib load() {
        try {
            Lib lib = NativeFiles.load(Lib.class, Lib::hf_abi);
            return lib.hf_sha256_two_able() == 1 ? lib : null;
        } catch (LinkageError | RuntimeException e) {
            LOG.warnf(e, "event=no-native-sha256 consequence=\"digests are computed one by one\"");
            return null;
        }
    }

    @Override
    public boolean able() {
        return lib != null;
    }

    @Override
    public void blocks(int[] states, byte[] a, int aOffset, byte[] b, int bOffset, int blocks) {
        // the native code reads what it is told to
        Objects.checkFromIndexSize(aOffset, blocks * BLOCK, a.length);
        Objects.checkFromIndexSize(bOffset, blocks * BLOCK, b.length);
        Objects.checkFromIndexSize(0, WORDS, states.length);
        int done = lib.hf_sha256_two(states, a, aOffset, b, bOffset, blocks);
        if (done != 0) {
            throw new IllegalStateException("hf_sha256_two gave " + done);
        }
    }
}
