package io.holdfast.schemas.event;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Holds together the records, the JSON Schemas, the examples, the AsyncAPI document and the topics. */
class ContractTest {
    private static final ObjectMapper JSON = EventCodec.json();
    private static final String FOLDER = "/io/holdfast/schemas/";

    static JsonNode resource(String name) throws IOException {
        try (InputStream in = ContractTest.class.getResourceAsStream(FOLDER + name)) {
            assertThat(in).as("resource %s", name).isNotNull();
            return (name.endsWith(".yaml") ? new YAMLMapper() : JSON).readTree(in);
        }
    }

    static JsonNode example(EventType type) throws IOException {
        return resource("examples/" + type.typeName() + ".json");
    }

    @ParameterizedTest
    @EnumSource
    void exampleIsValidAndComesBackTheSame(EventType type) throws Exception {
        JsonNode example = example(type);

        Object data = JSON.treeToValue(example, type.dataClass());

        assertThat(EventValidator.problems(type, example)).isEmpty();
        assertThat(EventType.of(data)).isEqualTo(type);
        assertThat(JSON.readTree(JSON.writeValueAsBytes(data))).isEqualTo(example);
    }

    @ParameterizedTest
    @EnumSource
    void exampleOnTheWireComesBackTheSame(EventType type) throws Exception {
        Object data = JSON.treeToValue(example(type), type.dataClass());
        var event = EventCodec.encode(
                "id/1",
                URI.create("/holdfast/test"),
                "op-1",
                data,
                Instant.parse("2026-11-22T16:55:12.345Z"),
                Map.of("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));

        ProducerRecord<String, byte[]> record = EventCodec.record(type.topic(), "key", event);
        var read = EventCodec.read(record.headers(), record.value());

        assertThat(EventValidator.decode(read)).isEqualTo(data);
        assertThat(EventCodec.decode(read)).isEqualTo(data);
        assertThat(read.getId()).isEqualTo("id/1");
        assertThat(read.getSubject()).isEqualTo("op-1");
        assertThat(read.getExtension("traceparent")).asString().startsWith("00-0af7");
        assertThat(record.topic()).isEqualTo(type.topic());
        assertThat(record.key()).isEqualTo("key");
        assertThat(record.timestamp()).isEqualTo(1795366512345L);
        assertThat(headers(record))
                .containsEntry("ce_specversion", "1.0")
                .containsEntry("ce_id", "id/1")
                .containsEntry("ce_type", type.typeName())
                .containsEntry("ce_source", "/holdfast/test")
                .containsEntry("content-type", "application/json");
    }

    private static Map<String, String> headers(ProducerRecord<String, byte[]> record) {
        return Arrays.stream(record.headers().toArray())
                .collect(Collectors.toMap(
                        h -> h.key(), h -> new String(h.value(), java.nio.charset.StandardCharsets.UTF_8)));
    }

    @ParameterizedTest
    @EnumSource
    void anyInstanceOfTheRecordIsValidBySchemaAndTheirFieldsAreTheSame(EventType type) throws Exception {
        Filler filler = new Filler(new Random(7));
        for (int i = 0; i < 20; i++) {
            Object data = filler.fill(type);

            JsonNode tree = JSON.readTree(JSON.writeValueAsBytes(data));

            assertThat(JsonSchemas.problems(type.schemaFile(), tree, ErrorCode.INTERNAL, ""))
                    .as(tree.toPrettyString())
                    .isEmpty();
            assertThat(JSON.treeToValue(tree, type.dataClass())).isEqualTo(data);
        }
    }

    @ParameterizedTest
    @EnumSource
    void unknownAndMissingMembersAreRefused(EventType type) throws Exception {
        JsonNode extra = example(type).deepCopy();
        ((com.fasterxml.jackson.databind.node.ObjectNode) extra).put("bogus", 1);

        assertThat(EventValidator.problems(type, extra))
                .extracting(Problem::field)
                .containsExactly("/bogus");
        boolean needsAny = resource(type.schemaFile()).has("required")
                || resource(type.schemaFile()).has("$ref");
        assertThat(EventValidator.problems(type, JSON.createObjectNode()).isEmpty())
                .isNotEqualTo(needsAny);
    }

    @Test
    void noSchemaOrExampleIsLeftWithoutAType() throws Exception {
        Path folder = Path.of(
                        ContractTest.class.getResource(FOLDER + "asyncapi.yaml").toURI())
                .getParent();
        Set<String> expected = Arrays.stream(EventType.values())
                .map(EventType::schemaFile)
                .collect(Collectors.toCollection(TreeSet::new));
        expected.addAll(List.of("common.v1.schema.json", "network-spec.v1.schema.json"));

        assertThat(names(folder, ".schema.json")).isEqualTo(expected);
        assertThat(names(folder.resolve("examples"), ".json"))
                .isEqualTo(Arrays.stream(EventType.values())
                        .map(t -> t.typeName() + ".json")
                        .collect(Collectors.toCollection(TreeSet::new)));
        for (String file : expected) {
            assertThat(resource(file).path("$id").asText()).isEqualTo(JsonSchemas.BASE + file);
            assertThat(resource(file).path("$schema").asText())
                    .isEqualTo("https://json-schema.org/draft/2020-12/schema");
        }
    }

    private static Set<String> names(Path folder, String ending) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(p -> p.getFileName().toString())
                    .filter(n -> n.endsWith(ending))
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    @Test
    void asyncApiListsTheTopicsWithTheirMessages() throws Exception {
        JsonNode api = resource("asyncapi.yaml");

        List<String> addresses = new ArrayList<>();
        api.path("channels").forEach(c -> addresses.add(c.path("address").asText()));
        assertThat(addresses).containsExactlyInAnyOrderElementsOf(topics());
        for (JsonNode channel : api.path("channels")) {
            Set<String> here = new TreeSet<>();
            channel.path("messages")
                    .forEach(m -> here.add(
                            at(api, m.path("$ref").asText()).path("name").asText()));
            Set<String> expected = Arrays.stream(EventType.values())
                    .filter(t -> t.topic().equals(channel.path("address").asText()))
                    .map(EventType::typeName)
                    .collect(Collectors.toCollection(TreeSet::new));
            assertThat(here).isEqualTo(expected.isEmpty() ? Set.of("journalRecord") : expected);
            assertThat(channel.at("/bindings/kafka/topicConfiguration/cleanup.policy/0")
                            .asText())
                    .isIn("delete", "compact");
            assertThat(channel.path("x-key").asText()).isNotEmpty();
        }
    }

    @Test
    void asyncApiMessagesPointToTheirSchemaExampleAndRecord() throws Exception {
        JsonNode api = resource("asyncapi.yaml");
        Set<String> named = new TreeSet<>();

        for (JsonNode message : api.at("/components/messages")) {
            EventType type = EventType.named(message.path("name").asText()).orElse(null);
            if (type == null) {
                assertThat(message.path("name").asText()).isEqualTo("journalRecord");
                continue;
            }
            named.add(type.typeName());
            assertThat(message.at("/payload/schema/$ref").asText()).isEqualTo("./" + type.schemaFile());
            assertThat(message.path("x-example").asText()).isEqualTo("./examples/" + type.typeName() + ".json");
            String record = type.dataClass().getName().replace("io.holdfast.schemas.event.", "");
            assertThat(message.path("x-record").asText()).isEqualTo(record.replace('$', '.'));
        }

        assertThat(named).hasSize(EventType.values().length);
    }

    @Test
    void asyncApiReferencesLeadSomewhere() throws Exception {
        JsonNode api = resource("asyncapi.yaml");

        assertThat(api.path("asyncapi").asText()).isEqualTo("3.0.0");
        for (JsonNode ref : api.findValues("$ref")) {
            String text = ref.asText();
            if (text.startsWith("./")) {
                resource(text.substring(2));
            } else {
                assertThat(at(api, text).isMissingNode()).as(text).isFalse();
            }
        }
        Set<String> used = new TreeSet<>();
        api.path("operations").forEach(o -> {
            assertThat(o.path("action").asText()).isIn("send", "receive");
            used.add(o.at("/channel/$ref").asText());
        });
        assertThat(used).hasSize(api.path("channels").size());
    }

    private static JsonNode at(JsonNode root, String ref) {
        return root.at(ref.substring(1));
    }

    private static List<String> topics() {
        return Arrays.stream(Topics.class.getFields())
                .map(f -> {
                    try {
                        return (String) f.get(null);
                    } catch (IllegalAccessException e) {
                        throw new IllegalStateException(e);
                    }
                })
                .toList();
    }
}
