package io.holdfast.storage.maintenance;

import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.StorageException;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/** A bucket whose clock is the test's, with Object Lock where a test asks for it; times are whole seconds, as S3 gives them. */
abstract class TestStore implements ObjectStore {
    /** What the server's clock says. */
    Instant now = Instant.parse("2026-01-01T00:00:00.700Z");
    /** Locks, where the bucket has Object Lock; else null. */
    Map<String, Instant> locks;
    /** The bucket's default retention. */
    Duration retention = Duration.ZERO;

    /** Hears what is asked about locks. */
    Consumer<String> onLockedUntil = k -> {};

    /** Before each request. */
    void request() {}

    final Instant seconds() {
        return now.truncatedTo(ChronoUnit.SECONDS);
    }

    @Override
    public Instant time(String key) {
        request();
        return seconds();
    }

    @Override
    public Duration retention() {
        return retention;
    }

    @Override
    public boolean lock(String key, Instant until) throws StorageException {
        if (locks == null) {
            return false;
        }
        request();
        if (size(key).isEmpty()) {
            throw StorageException.missing(key);
        }
        locks.merge(key, until, (there, asked) -> asked.isAfter(there) ? asked : there); // never shortened
        return true;
    }

    @Override
    public Optional<Instant> lockedUntil(String key) {
        if (locks == null) {
            return Optional.empty();
        }
        request();
        onLockedUntil.accept(key);
        return Optional.ofNullable(locks.get(key));
    }
}
