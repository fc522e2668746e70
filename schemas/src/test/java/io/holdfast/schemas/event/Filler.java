package io.holdfast.schemas.event;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Makes random instances of records by walking the record and its schema side by side, and fails where the two differ:
 * fields, kinds of values, words of enums, what may be absent.
 */
final class Filler {
    private static final List<String> CANDIDATES = List.of(
            "vm1",
            "10.77.0.11",
            "a-0",
            "256MiB",
            "/srv/boot/vmlinuz",
            "52:54:00:12:34:56",
            "q35",
            "pc-q35-9.0",
            "ram.img",
            "0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "some text, 'quoted' \u00e4");

    private final Random random;

    Filler(Random random) {
        this.random = random;
    }

    Object fill(EventType type) throws Exception {
        return fill(type.dataClass(), at(type.schemaFile(), ContractTest.resource(type.schemaFile())), "");
    }

    private record At(String file, JsonNode node) {}

    private static At at(String file, JsonNode node) throws IOException {
        String ref = node.path("$ref").asText();
        if (ref.isEmpty()) {
            return new At(file, node);
        }
        String target = ref.startsWith("#") ? file : ref.replaceAll("#.*", "");
        JsonNode found = ContractTest.resource(target).at(ref.contains("#") ? ref.replaceAll(".*#", "") : "");
        assertThat(found.isMissingNode()).as("%s in %s", ref, file).isFalse();
        return at(target, found);
    }

    private Object fill(Type type, At schema, String where) throws Exception {
        JsonNode s = schema.node();
        if (type instanceof ParameterizedType p) {
            return p.getRawType() == List.class
                    ? list(p.getActualTypeArguments()[0], schema, where)
                    : map(p.getActualTypeArguments()[1], schema, where);
        }
        Class<?> c = (Class<?>) type;
        if (c.isRecord()) {
            return record(c, schema, where);
        }
        if (c.isEnum()) {
            Set<String> words = new HashSet<>();
            s.path("enum").forEach(n -> words.add(n.asText()));
            assertThat(words)
                    .as(where)
                    .isEqualTo(Arrays.stream(c.getEnumConstants())
                            .map(Object::toString)
                            .collect(Collectors.toSet()));
            return c.getEnumConstants()[random.nextInt(words.size())];
        }
        if (c == String.class) {
            return text(s, where);
        }
        if (c == Instant.class) {
            assertThat(s.path("format").asText()).as(where).isEqualTo("date-time");
            return Instant.ofEpochMilli(random.nextLong(2_000_000_000_000L));
        }
        if (c == boolean.class || c == Boolean.class) {
            assertThat(s.path("type").asText()).as(where).isEqualTo("boolean");
            return random.nextBoolean();
        }
        if (s.has("const")) {
            return s.path("const").intValue();
        }
        assertThat(s.path("type").asText()).as(where).isEqualTo("integer");
        boolean isInt = c == int.class || c == Integer.class;
        long min = s.path("minimum").asLong(isInt ? Integer.MIN_VALUE : Long.MIN_VALUE);
        long max = s.path("maximum").asLong(isInt ? Integer.MAX_VALUE : Long.MAX_VALUE - 1);
        long value = random.nextLong(min, max + 1);
        return isInt ? (Object) (int) value : (Object) value;
    }

    private String text(JsonNode s, String where) {
        if (s.has("enum")) {
            return s.path("enum").get(random.nextInt(s.path("enum").size())).asText();
        }
        assertThat(s.path("type").asText()).as(where).isEqualTo("string");
        List<String> fitting = CANDIDATES.stream()
                .filter(t -> t.matches(s.path("pattern").asText("(?s).*"))
                        && t.length() <= s.path("maxLength").asInt(Integer.MAX_VALUE))
                .toList();
        assertThat(fitting).as("a text for %s: %s", where, s.path("pattern")).isNotEmpty();
        return fitting.get(random.nextInt(fitting.size()));
    }

    private List<Object> list(Type item, At schema, String where) throws Exception {
        assertThat(schema.node().path("type").asText()).as(where).isEqualTo("array");
        List<Object> out = new ArrayList<>();
        int size = schema.node().path("minItems").asInt() + random.nextInt(3);
        for (int i = 0; i < size; i++) {
            out.add(fill(item, at(schema.file(), schema.node().path("items")), where + "[]"));
        }
        return out;
    }

    private Map<String, Object> map(Type value, At schema, String where) throws Exception {
        Map<String, Object> out = new HashMap<>();
        JsonNode values = schema.node().path("additionalProperties");
        assertThat(values.isObject()).as(where).isTrue();
        for (int i = random.nextInt(3); i > 0; i--) {
            out.put("key" + i, fill(value, at(schema.file(), values), where + "{}"));
        }
        return out;
    }

    private Object record(Class<?> c, At schema, String where) throws Exception {
        JsonNode s = schema.node();
        assertThat(s.path("type").asText()).as(where).isEqualTo("object");
        assertThat(s.path("additionalProperties"))
                .as(where)
                .isEqualTo(com.fasterxml.jackson.databind.node.BooleanNode.FALSE);
        Set<String> properties = new HashSet<>();
        s.path("properties").fieldNames().forEachRemaining(properties::add);
        RecordComponent[] components = c.getRecordComponents();
        assertThat(properties)
                .as("fields of %s at %s", c.getSimpleName(), where)
                .isEqualTo(
                        Arrays.stream(components).map(RecordComponent::getName).collect(Collectors.toSet()));
        Set<String> required = new HashSet<>();
        s.path("required").forEach(n -> required.add(n.asText()));
        Object[] values = new Object[components.length];
        for (int i = 0; i < values.length; i++) {
            RecordComponent rc = components[i];
            String here = where + "/" + rc.getName();
            boolean optional = !required.contains(rc.getName());
            assertThat(optional && rc.getType().isPrimitive())
                    .as("%s is always written and so must be required", here)
                    .isFalse();
            boolean absent = optional && !List.class.equals(rc.getType()) && random.nextInt(3) == 0;
            // our own records turn an absent spec map or list into an empty one
            values[i] = absent && !(c.getPackageName().endsWith(".spec") && Map.class.equals(rc.getType()))
                    ? null
                    : fill(
                            rc.getGenericType(),
                            at(schema.file(), s.path("properties").path(rc.getName())),
                            here);
        }
        var constructor = c.getDeclaredConstructor(
                Arrays.stream(components).map(RecordComponent::getType).toArray(Class<?>[]::new));
        return constructor.newInstance(values);
    }
}
