package io.holdfast.storage.maintenance;

import io.holdfast.schemas.event.Maintenance.Damage;
import io.holdfast.storage.domain.StorageException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;

/** Collects what is broken, so much of it as a report can carry. Thread-safe. */
final class Damages {
    static final int MOST = 100;
    static final int MOST_NAMES = 50;
    static final int MOST_CHECKPOINTS = 1000;

    private final List<Damage> list = new ArrayList<>();
    private final SortedSet<String> checkpoints = new TreeSet<>();
    private int count;

    synchronized void add(String key, String what, String message, Collection<String> suffer) {
        count++;
        checkpoints.addAll(suffer);
        if (list.size() < MOST) {
            list.add(new Damage(
                    key,
                    what,
                    message,
                    suffer.stream().sorted().limit(MOST_NAMES).toList(),
                    suffer.size()));
        }
    }

    synchronized List<Damage> list() {
        return List.copyOf(list);
    }

    synchronized int count() {
        return count;
    }

    synchronized List<String> checkpoints() {
        return checkpoints.stream().limit(MOST_CHECKPOINTS).toList();
    }

    /** What kind of damage an error of a reader tells of; rethrows what is none. */
    static String kind(StorageException e) throws StorageException {
        return switch (e.code()) {
            case REPOSITORY_CORRUPT -> {
                String m = e.getMessage();
                yield m.contains("is missing")
                        ? "missing"
                        : m.contains("truncated")
                                        || m.contains("too short")
                                        || m.contains("ends early")
                                        || m.contains("shorter than")
                                ? "truncated"
                                : m.contains("is unknown")
                                        ? "unreadable"
                                        : m.contains("of another repository") ? "other" : "corrupt";
            }
            case UNKNOWN_CHECKPOINT -> "missing";
            default -> throw e;
        };
    }
}
