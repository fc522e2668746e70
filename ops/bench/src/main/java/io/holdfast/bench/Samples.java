package io.holdfast.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Measured values by name, in the order in which the names came. Not thread-safe. */
final class Samples {
    private final Map<String, List<Double>> values = new LinkedHashMap<>();

    void add(String what, double value) {
        values.computeIfAbsent(what, k -> new ArrayList<>()).add(value);
    }

    List<String> names() {
        return List.copyOf(values.keySet());
    }

    boolean isEmpty() {
        return values.isEmpty();
    }

    List<Double> of(String what) {
        return values.getOrDefault(what, List.of());
    }

    double median(String what) {
        return quantile(what, 0.5);
    }

    /** Linear between neighbours; NaN when nothing was measured. */
    double quantile(String what, double q) {
        List<Double> sorted = of(what).stream().sorted().toList();
        if (sorted.isEmpty()) {
            return Double.NaN;
        }
        double at = q * (sorted.size() - 1);
        int low = (int) at;
        int high = Math.min(low + 1, sorted.size() - 1);
        return sorted.get(low) + (sorted.get(high) - sorted.get(low)) * (at - low);
    }

    /** For JSON: the samples themselves and their median. */
    Map<String, Object> json() {
        Map<String, Object> json = new LinkedHashMap<>();
        values.forEach((k, v) -> {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("median", median(k));
            one.put("samples", v);
            json.put(k, one);
        });
        return json;
    }
}
