package io.holdfast.storage.domain;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import java.io.IOException;
import java.util.Arrays;
import java.util.stream.Collectors;

/** Those objects of the repository that are JSON: each has a {@code format}; maps are ordered by key. */
final class JsonObject {
    private static final ObjectMapper JSON =
            EventCodec.json().copy().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);

    private JsonObject() {}

    /** The object's bytes. */
    static byte[] encode(Object value) {
        try {
            return JSON.writeValueAsBytes(value);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(e);
        }
    }

    /**
     * Reads an object, refusing what this code does not know.
     *
     * @param key the object's, for messages
     * @param what it must be, for messages
     * @param formats versions that this code reads
     * @throws StorageException REPOSITORY_CORRUPT, naming the object and where there is one the field
     */
    static <T> T decode(String key, String what, byte[] data, Class<T> type, int... formats) throws StorageException {
        try {
            int format = Json.format(data);
            if (format < 0) {
                throw StorageException.corrupt(key, "not a " + what);
            }
            if (Arrays.stream(formats).noneMatch(f -> f == format)) {
                throw new StorageException(
                        ErrorCode.REPOSITORY_CORRUPT,
                        "object " + key + ": format " + format + " is unknown, this code reads "
                                + Arrays.stream(formats)
                                        .mapToObj(Integer::toString)
                                        .collect(Collectors.joining(" and ")),
                        "use a Holdfast that knows this format");
            }
            return Json.read(data, type);
        } catch (IOException | RuntimeException e) {
            throw StorageException.corrupt(
                    key, "not a " + what + ": " + e.getClass().getSimpleName() + field(e));
        }
    }

    private static String field(Exception e) {
        if (!(e instanceof JsonMappingException m) || m.getPath().isEmpty()) {
            return "";
        }
        String last = m.getPath().get(m.getPath().size() - 1).getFieldName();
        return last == null ? "" : " in field " + Names.printable(last);
    }
}
