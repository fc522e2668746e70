package io.holdfast.e2e;

import java.time.Duration;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/** Waits for observed states. */
public final class Await {
    private static final long LOOK_EVERY_MILLIS = 50;

    private Await() {}

    /**
     * Waits until it is so, by looking at it.
     *
     * @throws IllegalStateException when it is not within the limit
     */
    public static void until(String what, Duration limit, BooleanSupplier condition) {
        until(() -> what, limit, condition);
    }

    /**
     * Waits until it is so, by looking at it.
     *
     * @param what what is waited for, asked when it did not come
     * @throws IllegalStateException when it is not within the limit
     */
    public static void until(Supplier<String> what, Duration limit, BooleanSupplier condition) {
        long end = System.nanoTime() + limit.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("not within " + limit.toSeconds() + " s: " + what.get());
            }
            try {
                Thread.sleep(LOOK_EVERY_MILLIS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted", e);
            }
        }
    }
}
