package io.holdfast.storage.app;

import com.fasterxml.jackson.core.type.TypeReference;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** The highest epoch seen of each instance, kept in {@code STATE/epochs.json}. Thread-safe. */
final class Epochs {
    private final Path file;
    private final Map<String, Long> highest;

    Epochs(Path state) throws IOException {
        this.file = state.resolve("epochs.json");
        this.highest = Files.exists(file)
                ? new HashMap<>(EventCodec.json()
                        .readValue(Files.readAllBytes(file), new TypeReference<Map<String, Long>>() {}))
                : new HashMap<>();
    }

    /** Whether a command of that epoch may act; a newer one is kept. */
    synchronized boolean admit(String instance, long epoch) throws IOException {
        long seen = highest.getOrDefault(instance, Long.MIN_VALUE);
        if (epoch > seen) {
            highest.put(instance, epoch);
            Folders.writeDurably(file, EventCodec.json().writeValueAsBytes(highest));
        }
        return epoch >= seen;
    }
}
