package io.holdfast.schemas.spec;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.JsonSchemas;
import java.io.StringReader;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Iterator;
import java.util.Map;
import java.util.regex.Pattern;
import org.yaml.snakeyaml.DumperOptions.ScalarStyle;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.error.MarkedYAMLException;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.events.AliasEvent;
import org.yaml.snakeyaml.events.Event;
import org.yaml.snakeyaml.events.MappingStartEvent;
import org.yaml.snakeyaml.events.NodeEvent;
import org.yaml.snakeyaml.events.ScalarEvent;
import org.yaml.snakeyaml.events.SequenceStartEvent;

/**
 * A YAML document as a JSON tree, by the core schema of YAML 1.2 (so {@code on} is a text, not true). Anchors, aliases,
 * tags, duplicate keys, keys that are no scalars and further documents are refused; nesting is bounded.
 */
final class YamlTree {
    private static final Pattern INTEGER = Pattern.compile("[-+]?[0-9]{1,30}");
    private static final Pattern DECIMAL = Pattern.compile("[-+]?[0-9]{1,30}\\.[0-9]{1,30}");
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private final Iterator<Event> events;
    private final Map<String, Integer> lines;

    private YamlTree(Iterator<Event> events, Map<String, Integer> lines) {
        this.events = events;
        this.lines = lines;
    }

    /**
     * Reads a text.
     *
     * @param lines takes the line of each part by its JSON pointer
     */
    static JsonNode read(String text, Map<String, Integer> lines) throws InvalidEventException {
        LoaderOptions options = new LoaderOptions();
        options.setCodePointLimit(SpecReader.MAX_CHARS);
        options.setNestingDepthLimit(SpecReader.MAX_DEPTH);
        try {
            return new YamlTree(new Yaml(options).parse(new StringReader(text)).iterator(), lines).document();
        } catch (MarkedYAMLException e) {
            throw SpecReader.refused(
                    "",
                    "line "
                            + (e.getProblemMark() == null
                                    ? "?"
                                    : e.getProblemMark().getLine() + 1)
                            + ": " + SpecReader.firstLine(e.getProblem()),
                    "mend the YAML (indentation, colons, quotes)");
        } catch (YAMLException e) {
            throw SpecReader.refused("", SpecReader.firstLine(e.getMessage()), "mend the YAML");
        }
    }

    private JsonNode document() throws InvalidEventException {
        JsonNode root = NODES.missingNode();
        int documents = 0;
        while (events.hasNext()) {
            Event event = events.next();
            if (event instanceof NodeEvent) {
                if (++documents > 1) {
                    throw refused(event, "", "a second YAML document", "put one network in a file");
                }
                root = node(event, "", 0);
            }
        }
        return root;
    }

    private JsonNode node(Event event, String at, int depth) throws InvalidEventException {
        lines.putIfAbsent(at, line(event));
        if (event instanceof AliasEvent || (event instanceof NodeEvent n && n.getAnchor() != null)) {
            throw refused(event, at, "YAML anchors and aliases are not read", "write it out");
        }
        if (depth > SpecReader.MAX_DEPTH) {
            throw refused(event, at, "nested too deep", "see the schema");
        }
        return switch (event) {
            case ScalarEvent s -> {
                untagged(event, at, s.getTag());
                yield scalar(s);
            }
            case SequenceStartEvent s -> {
                untagged(event, at, s.getTag());
                yield list(at, depth);
            }
            case MappingStartEvent m -> {
                untagged(event, at, m.getTag());
                yield object(at, depth);
            }
            default -> throw refused(event, at, "not understood", "mend the YAML");
        };
    }

    private JsonNode list(String at, int depth) throws InvalidEventException {
        ArrayNode list = NODES.arrayNode();
        for (Event e = events.next(); !e.is(Event.ID.SequenceEnd); e = events.next()) {
            list.add(node(e, JsonSchemas.pointer(at, list.size()), depth + 1));
        }
        return list;
    }

    private JsonNode object(String at, int depth) throws InvalidEventException {
        ObjectNode object = NODES.objectNode();
        for (Event e = events.next(); !e.is(Event.ID.MappingEnd); e = events.next()) {
            if (!(e instanceof ScalarEvent key) || key.getAnchor() != null || key.getTag() != null) {
                throw refused(e, at, "a key must be a plain word", "mend the YAML");
            }
            String member = JsonSchemas.pointer(at, key.getValue());
            if (object.has(key.getValue())) {
                throw refused(e, member, "the key comes a second time", "keep one of them");
            }
            lines.put(member, line(e));
            object.set(key.getValue(), node(events.next(), member, depth + 1));
        }
        return object;
    }

    private static JsonNode scalar(ScalarEvent s) {
        String text = s.getValue();
        if (s.getScalarStyle() != ScalarStyle.PLAIN) {
            return NODES.textNode(text);
        }
        return switch (text) {
            case "", "~", "null", "Null", "NULL" -> NODES.nullNode();
            case "true", "True", "TRUE" -> NODES.booleanNode(true);
            case "false", "False", "FALSE" -> NODES.booleanNode(false);
            default -> {
                if (INTEGER.matcher(text).matches()) {
                    BigInteger number = new BigInteger(text);
                    yield number.bitLength() < 32 ? NODES.numberNode(number.intValue()) : NODES.numberNode(number);
                }
                yield DECIMAL.matcher(text).matches() ? NODES.numberNode(new BigDecimal(text)) : NODES.textNode(text);
            }
        };
    }

    private static void untagged(Event event, String at, String tag) throws InvalidEventException {
        if (tag != null) {
            throw refused(event, at, "YAML tags are not read: " + Names.quote(tag), "remove it");
        }
    }

    private static int line(Event event) {
        return event.getStartMark() == null ? 0 : event.getStartMark().getLine() + 1;
    }

    private static InvalidEventException refused(Event event, String at, String message, String remedy) {
        return SpecReader.refused(at, "line " + line(event) + ": " + message, remedy);
    }
}
