package io.holdfast.coordinator.domain;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.view.CheckpointView;
import java.util.Map;

/**
 * What a decision wants done. Journal effects come first in a decision; nothing else of it may be done before they are
 * acknowledged.
 */
public sealed interface Effect {
    /** A record of the coordinator's memory; a later one of the same key takes its place. */
    sealed interface Journal extends Effect {
        /** Key in the journal. */
        String key();
    }

    /** An operation as it now is. */
    record JournalOperation(Operation operation) implements Journal {
        @Override
        public String key() {
            return "operation/" + operation.id();
        }
    }

    /** An instance as it now is. */
    record JournalInstance(Instance instance) implements Journal {
        @Override
        public String key() {
            return "instance/" + instance.name();
        }
    }

    /** A tombstone. */
    record Forget(String key) implements Journal {}

    /** A command to a host. May be repeated. */
    record Send(Command command, Map<String, String> trace) implements Effect {}

    /**
     * A public event. May be repeated with the same id.
     *
     * @param subject what it is about: an operation, or null
     */
    record Publish(String id, String subject, PublicEvent event, Map<String, String> trace) implements Effect {
        /** Whether it tells how an operation ended; once it is published, {@link Input.Announced} is due. */
        public boolean isOutcome() {
            return id.endsWith("/ended");
        }
    }

    /** A checkpoint to name in the catalog. May be repeated. */
    record Catalog(CheckpointView checkpoint) implements Effect {}

    /** A checkpoint that the catalog names no more. May be repeated. */
    record Uncatalog(String checkpoint) implements Effect {}
}
