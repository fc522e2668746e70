package io.holdfast.storage.domain;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;

/**
 * Reads objects of the bucket that are JSON. They are hostile until they are checked: what a few bytes of text may become in memory is bounded by the
 * number of values, so that no object that is not larger than its limit is too much for a small heap. Thread-safe.
 */
final class Json {
    /** Values and names of fields, ends of lists and objects too; a manifest of a thousand VMs has less than half of it. */
    private static final long MOST_TOKENS = 1_000_000;

    private static final ObjectMapper JSON = EventCodec.json().copy();

    static {
        JSON.getFactory()
                .setStreamReadConstraints(StreamReadConstraints.builder()
                        .maxTokenCount(MOST_TOKENS)
                        .maxStringLength(1 << 20)
                        .maxNameLength(1 << 12)
                        .maxNestingDepth(64)
                        .build());
    }

    private Json() {}

    /** The number in the field {@code format} of an object, -1 if there is none; takes no memory. */
    static int format(byte[] data) throws IOException {
        int format = -1;
        try (JsonParser p = JSON.getFactory().createParser(data)) {
            if (p.nextToken() != JsonToken.START_OBJECT) {
                return -1;
            }
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                boolean wanted = p.currentName().equals("format");
                if (p.nextToken() == JsonToken.VALUE_NUMBER_INT && wanted) {
                    format = p.getIntValue();
                }
                p.skipChildren();
            }
        }
        return format;
    }

    static <T> T read(byte[] data, Class<T> type) throws IOException {
        T value = JSON.readValue(data, type);
        if (value == null) {
            throw new IOException("nothing in it");
        }
        return value;
    }

    static JsonNode tree(byte[] data) throws IOException {
        return JSON.readTree(data);
    }
}
