package io.holdfast.schemas.view;

import io.holdfast.schemas.event.CheckpointManifest;
import java.time.Instant;

/**
 * A checkpoint that can be restored: an entry of the catalog topic (key: checkpoint, value: this as JSON) and the answer
 * of {@code GET /api/v1/checkpoints}.
 *
 * @param checkpoint id
 * @param instance instance that was checkpointed
 * @param label free text, or null
 * @param takenAt when the cut was
 * @param operation operation that made it, or null when the entry was rebuilt from the repository
 * @param manifestKey S3 key of the manifest
 * @param manifestSha256 its digest in hex, or null when not known
 * @param manifest the manifest
 * @param held whether it is held: no forget removes it
 */
public record CheckpointView(
        String checkpoint,
        String instance,
        String label,
        Instant takenAt,
        String operation,
        String manifestKey,
        String manifestSha256,
        CheckpointManifest manifest,
        boolean held) {
    /** The same, held or not. */
    public CheckpointView held(boolean now) {
        return new CheckpointView(
                checkpoint, instance, label, takenAt, operation, manifestKey, manifestSha256, manifest, now);
    }
}
