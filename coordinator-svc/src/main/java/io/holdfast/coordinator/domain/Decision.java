package io.holdfast.coordinator.domain;

import java.util.List;

/** What came of an input. */
public record Decision(State state, List<Effect> effects) {
    public Decision {
        effects = List.copyOf(effects);
    }

    /** The journal records, to be written first. */
    public List<Effect.Journal> journal() {
        return effects.stream()
                .filter(Effect.Journal.class::isInstance)
                .map(Effect.Journal.class::cast)
                .toList();
    }

    /** Everything else, to be done in order once the journal is written. */
    public List<Effect> outward() {
        return effects.stream().filter(e -> !(e instanceof Effect.Journal)).toList();
    }
}
