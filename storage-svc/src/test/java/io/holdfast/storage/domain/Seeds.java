package io.holdfast.storage.domain;

import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.LongStream;

/** Seeds for tests with random input. A failed test's name has its seed: put it first here to see the failure again. */
public final class Seeds {
    /** For {@code @MethodSource}. */
    public static final String ALL = "io.holdfast.storage.domain.Seeds#all";

    private Seeds() {}

    /** The same twenty each time, and five new ones. */
    static LongStream all() {
        return LongStream.concat(
                LongStream.rangeClosed(1, 20), ThreadLocalRandom.current().longs(5));
    }
}
