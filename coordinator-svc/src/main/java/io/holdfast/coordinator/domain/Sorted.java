package io.holdfast.coordinator.domain;

import java.util.Collection;
import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/** Unmodifiable sorted collections: the same order in every run, so that decisions are repeatable. */
final class Sorted {
    private Sorted() {}

    static <V> SortedMap<String, V> map(Map<String, V> m) {
        return Collections.unmodifiableSortedMap(new TreeMap<>(m == null ? Map.of() : m));
    }

    static SortedSet<String> set(Collection<String> c) {
        return Collections.unmodifiableSortedSet(new TreeSet<>(c == null ? java.util.Set.of() : c));
    }

    static <V> SortedMap<String, V> with(Map<String, V> m, String key, V value) {
        var copy = new TreeMap<>(m);
        copy.put(key, value);
        return Collections.unmodifiableSortedMap(copy);
    }

    static <V> SortedMap<String, V> without(Map<String, V> m, String key) {
        var copy = new TreeMap<>(m);
        copy.remove(key);
        return Collections.unmodifiableSortedMap(copy);
    }

    static SortedSet<String> without(Collection<String> c, String element) {
        var copy = new TreeSet<>(c);
        copy.remove(element);
        return Collections.unmodifiableSortedSet(copy);
    }
}
