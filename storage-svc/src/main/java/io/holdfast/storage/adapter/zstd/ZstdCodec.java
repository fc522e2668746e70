package io.holdfast.storage.adapter.zstd;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import io.holdfast.storage.domain.ChunkCodec;
import java.nio.ByteBuffer;

/** zstd by zstd-jni, a context per thread. */
public final class ZstdCodec implements ChunkCodec {
    private final ThreadLocal<ZstdCompressCtx> compress;
    private final ThreadLocal<ZstdDecompressCtx> decompress = ThreadLocal.withInitial(ZstdDecompressCtx::new);

    /**
     * Makes a codec.
     *
     * @param level zstd's level, 1 is the fastest ordinary one, negative ones are faster still
     */
    public ZstdCodec(int level) {
        if (level < Zstd.minCompressionLevel() || level > Zstd.maxCompressionLevel()) {
            throw new IllegalArgumentException("zstd has no level " + level);
        }
        compress = ThreadLocal.withInitial(() -> {
            ZstdCompressCtx c = new ZstdCompressCtx();
            c.setLevel(level);
            c.setChecksum(false);
            return c;
        });
    }

    @Override
    public int compress(byte[] source, int offset, int length, byte[] target, int at, int room) {
        if (room <= 0) {
            return -1;
        }
        try {
            return compress.get().compressByteArray(target, at, room, source, offset, length);
        } catch (ZstdException e) {
            // the result does not fit: the caller stores the chunk as it is
            return -1;
        }
    }

    @Override
    public boolean decompress(ByteBuffer source, byte[] target, int at, int length) {
        try {
            int n = decompress
                    .get()
                    .decompressByteArray(
                            target,
                            at,
                            length,
                            source.array(),
                            source.arrayOffset() + source.position(),
                            source.remaining());
            return n == length;
        } catch (ZstdException e) {
            return false;
        }
    }
}
