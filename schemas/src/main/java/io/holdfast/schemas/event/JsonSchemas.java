package io.holdfast.schemas.event;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.Error;
import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaLocation;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SchemaRegistryConfig;
import com.networknt.schema.SpecificationVersion;
import com.networknt.schema.path.PathType;
import io.holdfast.schemas.spec.Names;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;

/**
 * The JSON Schema files of the contract (draft 2020-12, beside this package in {@code io/holdfast/schemas/}), and what
 * is wrong with a document by one of them, in words. Thread-safe; schemas are loaded once; nothing is ever fetched from
 * a network.
 */
public final class JsonSchemas {
    /** What the schemas' {@code $id}s begin with. An identifier, not a place. */
    public static final String BASE = "https://holdfast.io/schemas/";

    private static final String FOLDER = "/io/holdfast/schemas/";
    private static final Pattern FILE = Pattern.compile("[a-z0-9.-]+\\.schema\\.json");
    private static final int MAX_PROBLEMS = 100;
    private static final Map<String, Schema> LOADED = new ConcurrentHashMap<>();
    private static final SchemaRegistry REGISTRY =
            SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12, b -> b.schemas(JsonSchemas::textOf)
                    .schemaRegistryConfig(SchemaRegistryConfig.builder()
                            .pathType(PathType.JSON_POINTER)
                            .locale(Locale.ENGLISH)
                            .formatAssertionsEnabled(true)
                            .build()));

    private JsonSchemas() {}

    /**
     * Every problem of a document.
     *
     * @param file name of the schema file
     * @param document the document; members that are null count as absent
     * @param code the code of the problems
     * @param prefix JSON pointer of the document within what the sender sent, empty for the whole
     */
    public static List<Problem> problems(String file, JsonNode document, ErrorCode code, String prefix) {
        JsonNode clean = withoutNulls(document);
        List<Problem> problems = new ArrayList<>();
        for (Error e : schema(file).validate(clean)) {
            if (problems.size() == MAX_PROBLEMS) {
                problems.add(new Problem(code, prefix, "and more problems", "repair these first"));
                break;
            }
            problems.add(problem(e, code, prefix));
        }
        return problems;
    }

    /** The document without the object members that are null. */
    public static JsonNode withoutNulls(JsonNode document) {
        if (document instanceof ObjectNode o) {
            ObjectNode out = o.objectNode();
            o.properties().forEach(e -> {
                if (!e.getValue().isNull()) {
                    out.set(e.getKey(), withoutNulls(e.getValue()));
                }
            });
            return out;
        }
        if (document instanceof ArrayNode a) {
            ArrayNode out = a.arrayNode();
            a.forEach(n -> out.add(withoutNulls(n)));
            return out;
        }
        return document;
    }

    /** The pointer of a member: {@code ~} and {@code /} escaped as RFC 6901 says. */
    public static String pointer(String parent, Object member) {
        return parent + "/" + member.toString().replace("~", "~0").replace("/", "~1");
    }

    private static Schema schema(String file) {
        return LOADED.computeIfAbsent(file, f -> {
            if (!FILE.matcher(f).matches()) {
                throw new IllegalArgumentException("not a schema file: " + Names.quote(f));
            }
            Schema s = REGISTRY.getSchema(SchemaLocation.of(BASE + f), text(f), InputFormat.JSON);
            s.initializeValidators();
            return s;
        });
    }

    private static String textOf(String iri) {
        return iri.startsWith(BASE) ? text(iri.substring(BASE.length())) : null;
    }

    private static String text(String file) {
        try (InputStream in = JsonSchemas.class.getResourceAsStream(FOLDER + file)) {
            if (in == null) {
                throw new IllegalArgumentException("no schema file " + Names.quote(file));
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Problem problem(Error e, ErrorCode code, String prefix) {
        String at = prefix + e.getInstanceLocation();
        JsonNode node = e.getInstanceNode();
        JsonNode wants = e.getSchemaNode();
        return switch (e.getKeyword()) {
            case "required" ->
                new Problem(
                        code,
                        pointer(at, e.getProperty()),
                        "'" + e.getProperty() + "' is missing",
                        "add '" + e.getProperty() + "'");
            case "additionalProperties", "unevaluatedProperties" ->
                new Problem(
                        code,
                        pointer(at, e.getProperty()),
                        "unknown field " + Names.quote(e.getProperty()),
                        "remove it or mend its name");
            case "type" ->
                new Problem(
                        code, at, "must be of type " + plain(wants) + ", not " + shown(node), "write " + sample(wants));
            case "enum", "const" ->
                new Problem(code, at, shown(node) + " is none of the values allowed", "use " + plain(wants));
            case "pattern" -> new Problem(code, at, shown(node) + " has the wrong form", remedyOf(plain(wants)));
            case "minimum", "maximum", "exclusiveMinimum" ->
                new Problem(
                        code,
                        at,
                        shown(node) + " is out of range: " + e.getKeyword() + " is " + plain(wants),
                        "choose a value in the range");
            case "maxLength", "minLength", "maxItems", "minItems", "maxProperties" ->
                new Problem(code, at, e.getMessage(), e.getKeyword() + " is " + plain(wants));
            case "format" ->
                new Problem(
                        code,
                        at,
                        shown(node) + " is no " + plain(wants),
                        plain(wants).equals("date-time")
                                ? "write a time with its zone, such as 2027-01-31T00:00:00Z"
                                : "see the schema's 'format'");
            default -> new Problem(code, at, e.getMessage(), "see the schema's '" + e.getKeyword() + "'");
        };
    }

    private static String remedyOf(String pattern) {
        String body = pattern.substring(Math.min(1, pattern.length()));
        if (body.startsWith("[a-z0-9]([a-z0-9-]{0,")) {
            return "1 to " + (body.contains("{0,18}") ? 20 : 40)
                    + " lower-case letters, digits and hyphens, a letter or digit at both ends";
        }
        if (body.contains("KiB")) {
            return "a whole number and a unit, such as 256MiB or 4GiB";
        }
        if (body.contains("{2}){5}")) {
            return "six pairs of hex digits with colons, such as 52:54:00:12:34:56";
        }
        if (body.contains("pc-q35")) {
            return "q35, microvm or a versioned pc-q35-N.M such as pc-q35-9.0";
        }
        if (body.startsWith("/")) {
            return "an absolute path such as /srv/boot/vmlinuz";
        }
        return "it must match " + pattern;
    }

    private static String sample(JsonNode type) {
        return switch (type.asText()) {
            case "string" -> "a text (in YAML in quotes when it looks like a number or true/false)";
            case "integer" -> "a whole number";
            case "object" -> "fields (name: value)";
            case "array" -> "a list";
            case "boolean" -> "true or false";
            default -> plain(type);
        };
    }

    private static String plain(JsonNode schemaNode) {
        if (schemaNode == null) {
            return "?";
        }
        if (schemaNode.isArray()) {
            List<String> words = new ArrayList<>();
            schemaNode.forEach(n -> words.add(n.asText()));
            return String.join(", ", words);
        }
        return schemaNode.asText();
    }

    private static String shown(JsonNode node) {
        return switch (node == null ? null : node.getNodeType()) {
            case null -> "nothing";
            case STRING -> Names.quote(node.asText());
            case OBJECT -> "an object";
            case ARRAY -> "a list";
            default -> node.toString();
        };
    }
}
