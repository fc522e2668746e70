package io.holdfast.coordinator.app;

import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.view.EventLine;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;

/** The latest public events, in memory, for people who watch; and what was refused lately. Thread-safe. */
public final class EventLog {
    private static final int REJECTIONS = 1000;

    /** An event with what it is filtered by. */
    public record Entry(String instance, String operation, EventLine line) {}

    /** A refused request. */
    public record Rejection(EventLine line, PublicEvent.Rejected event) {}

    private final int capacity;
    private final ArrayDeque<Entry> entries = new ArrayDeque<>();
    private final Set<String> ids = new HashSet<>();
    private final Map<String, Rejection> rejections = new LinkedHashMap<>();
    private final List<Consumer<Entry>> watchers = new CopyOnWriteArrayList<>();

    public EventLog(int capacity) {
        this.capacity = capacity;
    }

    /** Takes an event in and tells the watchers; a repeat (same id) is passed over. */
    public synchronized void add(PublicEvent event, EventLine line) {
        boolean rejected = event instanceof PublicEvent.Rejected;
        if (!ids.add(line.id()) && !rejected) {
            return;
        }
        var entry = new Entry(event.instance(), line.subject(), line);
        entries.addLast(entry);
        while (entries.size() > capacity) {
            ids.remove(entries.removeFirst().line().id());
        }
        if (event instanceof PublicEvent.Rejected r) {
            rejections.remove(line.subject());
            rejections.put(line.subject(), new Rejection(line, r));
            if (rejections.size() > REJECTIONS) {
                rejections.remove(rejections.keySet().iterator().next());
            }
        } else if (event instanceof PublicEvent.Accepted) {
            rejections.remove(line.subject()); // refused once, accepted later
        }
        watchers.forEach(w -> w.accept(entry));
    }

    /** The refusal of the request that would have become that operation. */
    public synchronized Optional<Rejection> rejection(String operation) {
        return Optional.ofNullable(rejections.get(operation));
    }

    /** The refusals of late. */
    public synchronized List<Rejection> rejections() {
        return List.copyOf(rejections.values());
    }

    /** What is remembered, oldest first. */
    public synchronized List<Entry> recent() {
        return new ArrayList<>(entries);
    }

    /**
     * What is remembered, and from then on every event, with no gap and no repeat.
     *
     * @param watcher called in order by the thread that adds; must not block
     * @return ends the watch
     */
    public synchronized Runnable watch(Consumer<Entry> watcher) {
        entries.forEach(watcher);
        watchers.add(watcher);
        return () -> watchers.remove(watcher);
    }
}
