package io.holdfast.coordinator.adapter.kafka;

import io.cloudevents.CloudEvent;
import io.holdfast.schemas.event.CheckpointManifest;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.view.CheckpointView;
import java.net.URI;
import java.util.List;
import java.util.TreeMap;
import org.apache.kafka.common.header.Headers;

/**
 * Catalog records: a CloudEvent whose data is the checkpoint's manifest. Extension attributes {@code manifestkey} and
 * {@code manifestsha256} tell where it is; without them it is where the repository's format puts it. {@code held}: it is held.
 */
final class CatalogCodec {
    private static final String KEY = "manifestkey";
    private static final String SHA256 = "manifestsha256";
    private static final String HELD = "held";

    private CatalogCodec() {}

    static CloudEvent encode(CheckpointView c, URI source) {
        var extensions = new TreeMap<String, String>();
        extensions.put(KEY, c.manifestKey());
        if (c.manifestSha256() != null) {
            extensions.put(SHA256, c.manifestSha256());
        }
        if (c.held()) {
            extensions.put(HELD, "true");
        }
        return EventCodec.encode(
                "catalog/" + c.checkpoint(), source, c.operation(), c.manifest(), c.takenAt(), extensions);
    }

    /**
     * Reads a record.
     *
     * @throws InvalidEventException if it is no catalog record
     */
    static CheckpointView decode(Headers headers, byte[] value) throws InvalidEventException {
        CloudEvent event = EventCodec.read(headers, value);
        if (!(EventCodec.decode(event) instanceof CheckpointManifest m)
                || m.checkpoint() == null
                || m.takenAt() == null
                || m.layout() == null
                || m.layout().spec() == null) {
            throw new InvalidEventException(List.of(
                    new Problem(ErrorCode.INVALID_EVENT, "", "not a checkpoint's manifest", "see docs/protocol.md")));
        }
        return new CheckpointView(
                m.checkpoint(),
                m.instance(),
                m.label(),
                m.takenAt(),
                event.getSubject(),
                event.getExtension(KEY) instanceof String key ? key : "checkpoints/" + m.checkpoint() + ".json",
                event.getExtension(SHA256) instanceof String sha ? sha : null,
                m,
                "true".equals(event.getExtension(HELD)));
    }
}
