package io.holdfast.schemas.event;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.holdfast.schemas.spec.NetworkSpec;
import io.holdfast.schemas.spec.SpecNormalizer;
import io.holdfast.schemas.spec.SpecReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** docs/protocol.md says what the schemas say. */
class ProtocolDocTest {
    private static final Path DOC = Path.of("..", "docs", "protocol.md");

    private static String doc() throws IOException {
        return Files.readString(DOC);
    }

    /** The part below a heading, up to the next one. */
    private static String section(String heading) throws IOException {
        String doc = doc();
        int start = doc.indexOf("\n### " + heading + "\n");
        assertThat(start).as("heading %s", heading).isNotNegative();
        int end = doc.indexOf("\n##", start + 5);
        return doc.substring(start, end < 0 ? doc.length() : end);
    }

    private static void assertFieldsAreListed(String section, JsonNode schema) {
        List<String> listed = new ArrayList<>();
        List<String> optional = new ArrayList<>();
        Matcher row = Pattern.compile("(?m)^\\| `([A-Za-z0-9]+)`( \\(optional\\))? \\|")
                .matcher(section);
        while (row.find()) {
            listed.add(row.group(1));
            if (row.group(2) != null) {
                optional.add(row.group(1));
            }
        }
        List<String> properties = new ArrayList<>();
        schema.path("properties").fieldNames().forEachRemaining(properties::add);
        assertThat(listed).isEqualTo(properties);
        schema.path("required").forEach(r -> properties.remove(r.asText()));
        assertThat(optional).isEqualTo(properties);
    }

    @ParameterizedTest
    @EnumSource
    void everyTypeIsThereWithItsFields(EventType type) throws Exception {
        JsonNode schema = ContractTest.resource(type.schemaFile());
        if (schema.has("$ref")) {
            schema = ContractTest.resource("common.v1.schema.json")
                    .at(schema.path("$ref").asText().replaceAll(".*#", ""));
        }

        assertFieldsAreListed(section("`" + type.typeName() + "`"), schema);
    }

    @Test
    void everySharedPartIsThereWithItsFields() throws Exception {
        for (var def :
                ContractTest.resource("common.v1.schema.json").path("$defs").properties()) {
            if (def.getValue().has("properties")) {
                assertFieldsAreListed(section(def.getKey()), def.getValue());
            }
        }
    }

    @Test
    void everyErrorCodeIsThere() throws Exception {
        String doc = doc();
        for (ErrorCode code : ErrorCode.values()) {
            assertThat(doc).contains("\n| `" + code + "` | ");
        }
    }

    @Test
    void theSpecIsValidAndItsCommentsTellTheDefaults() throws Exception {
        Matcher yaml = Pattern.compile("(?s)```yaml\n(.*?)```").matcher(doc());
        assertThat(yaml.find()).isTrue();

        NetworkSpec spec = SpecReader.read(yaml.group(1));

        NetworkSpec full = SpecNormalizer.normalize(spec);
        assertThat(full.vms().getFirst().machine()).isEqualTo("pc-q35-9.0");
        assertThat(full.vms().getFirst().cpu()).isEqualTo(spec.vms().getFirst().cpu());
        assertThat(full.segments()).isEqualTo(spec.segments());
    }

    @Test
    void theKcatCommandsSendValidRequests() throws Exception {
        Matcher command = Pattern.compile("(?s)printf '%s' '(.*?)' \\|\n\\s*kcat -P (.*?)\n(?=\n|```|kcat)")
                .matcher(doc());
        List<EventType> sent = new ArrayList<>();
        while (command.find()) {
            RecordHeaders headers = new RecordHeaders();
            Matcher h = Pattern.compile("-H ([a-z_-]+)=(\\S+)").matcher(command.group(2));
            while (h.find()) {
                headers.add(h.group(1), h.group(2).getBytes(java.nio.charset.StandardCharsets.UTF_8));
            }
            var event = EventCodec.read(headers, command.group(1).getBytes(java.nio.charset.StandardCharsets.UTF_8));

            assertThat(EventValidator.decode(event)).isInstanceOf(Request.class);
            sent.add(EventCodec.typeOf(event));
        }
        assertThat(sent)
                .containsExactly(EventType.REQUEST_CHECKPOINT, EventType.REQUEST_RESTORE, EventType.REQUEST_DESTROY);
    }

    @Test
    void linksWithinThePageLeadToHeadings() throws Exception {
        String doc = doc();
        Matcher link = Pattern.compile("\\]\\(#([a-z0-9-]+)\\)").matcher(doc);
        List<String> anchors = new ArrayList<>();
        doc.lines()
                .filter(l -> l.startsWith("#"))
                .forEach(l -> anchors.add(l.replaceAll("^#+ ", "")
                        .toLowerCase(java.util.Locale.ROOT)
                        .replaceAll("[^a-z0-9 -]", "")
                        .replace(' ', '-')));
        while (link.find()) {
            assertThat(anchors).contains(link.group(1));
        }
        Matcher file = Pattern.compile("\\]\\(\\.\\./([^)#]+)\\)").matcher(doc);
        while (file.find()) {
            assertThat(Path.of("..").resolve(file.group(1))).exists();
        }
    }
}
