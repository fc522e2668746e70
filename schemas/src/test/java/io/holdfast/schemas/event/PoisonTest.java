package io.holdfast.schemas.event;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.assertj.core.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Whatever a record holds, it is decoded or refused with an {@link InvalidEventException}; nothing else is thrown. */
class PoisonTest {
    private static final ObjectMapper JSON = EventCodec.json();
    private static final byte[] GOOD = "{\"instance\":\"lab\"}".getBytes(UTF_8);

    private static Map<String, String> goodHeaders() {
        return new TreeMap<>(Map.of(
                "ce_specversion", "1.0",
                "ce_id", "r1",
                "ce_source", "/test",
                "ce_type", "io.holdfast.request.checkpoint.v1",
                "content-type", "application/json"));
    }

    private static Headers headers(Map<String, String> map) {
        RecordHeaders h = new RecordHeaders();
        map.forEach((k, v) -> h.add(k, v == null ? null : v.getBytes(UTF_8)));
        return h;
    }

    private static Object decode(Headers headers, byte[] value) throws InvalidEventException {
        return EventValidator.decode(EventCodec.read(headers, value));
    }

    private static void assertRefused(Headers headers, byte[] value) {
        assertThatThrownBy(() -> decode(headers, value)).isInstanceOf(InvalidEventException.class);
        InvalidEventException e = catchThrowableOfType(InvalidEventException.class, () -> decode(headers, value));
        assertThat(e.problems()).isNotEmpty().allSatisfy(p -> {
            assertThat(p.message()).isNotBlank();
            assertThat(p.remedy()).isNotBlank();
        });
    }

    @Test
    void whatKcatSendsIsRead() throws Exception {
        assertThat(decode(headers(goodHeaders()), GOOD)).isEqualTo(new Request.Checkpoint("lab", null));

        Map<String, String> least = goodHeaders();
        least.remove("content-type");
        assertThat(decode(headers(least), "{\"instance\":\"lab\",\"label\":null}".getBytes(UTF_8)))
                .isEqualTo(new Request.Checkpoint("lab", null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"ce_specversion", "ce_id", "ce_source", "ce_type"})
    void missingEmptyAndNullHeadersAreRefused(String name) {
        Map<String, String> missing = goodHeaders();
        missing.remove(name);
        assertRefused(headers(missing), GOOD);

        Map<String, String> isNull = goodHeaders();
        isNull.put(name, null);
        assertRefused(headers(isNull), GOOD);

        Map<String, String> odd = goodHeaders();
        odd.put(name, "\u0000:// %% \n");
        if (!name.equals("ce_id")) {
            assertRefused(headers(odd), GOOD);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "ce_specversion=0.3",
                "ce_specversion=2.0",
                "ce_type=io.holdfast.request.explode.v1",
                "ce_type=io.holdfast.request.checkpoint.v2",
                "ce_time=yesterday",
                "content-type=text/plain",
                "content-type=application/cloudevents+json",
                "content-type=application/cloudevents-batch+json",
                "content-type=\u0000"
            })
    void wrongHeadersAreRefused(String header) {
        Map<String, String> h = goodHeaders();
        h.put(header.substring(0, header.indexOf('=')), header.substring(header.indexOf('=') + 1));

        assertRefused(headers(h), GOOD);
    }

    @Test
    void noHeadersAreRefused() {
        assertRefused(new RecordHeaders(), GOOD);
        assertRefused(new RecordHeaders(), null);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                " ",
                "null",
                "{}",
                "[]",
                "1",
                "\"lab\"",
                "{",
                "nonsense",
                "{\"instance\":1}",
                "{\"instance\":null}",
                "{\"instance\":[\"lab\"]}",
                "{\"instance\":\"../etc\"}",
                "{\"instance\":\"lab\\n\"}",
                "{\"instance\":\"lab\",\"instance\":\"lab2\"}",
                "{\"instance\":\"lab\"} {}",
                "{\"instance\":\"lab\",\"label\":3}",
                "{\"instance\":\"lab\",\"lable\":\"x\"}"
            })
    void junkDataIsRefused(String data) {
        assertRefused(headers(goodHeaders()), data.getBytes(UTF_8));
    }

    @Test
    void deepAndLongDataIsRefused() {
        assertRefused(headers(goodHeaders()), "[".repeat(200_000).getBytes(UTF_8));
        assertRefused(headers(goodHeaders()), "{\"a\":".repeat(200_000).getBytes(UTF_8));
        assertRefused(headers(goodHeaders()), new byte[EventCodec.MAX_BYTES + 1]);
        assertRefused(headers(goodHeaders()), null);
    }

    @Test
    void problemsOfASpecInARequestHaveTheirPlaceInTheRequest() {
        Map<String, String> h = goodHeaders();
        h.put("ce_type", "io.holdfast.request.deploy.v1");
        byte[] data = """
                {"spec":{"name":"lab","segments":[{"name":"s"}],
                 "vms":[{"name":"a","memory":"3MiB","kernel":"/k","nics":[{"segment":"t","mac":"x"}]}]},
                 "instance":"Lab"}
                """.getBytes(UTF_8);

        InvalidEventException e = catchThrowableOfType(InvalidEventException.class, () -> decode(headers(h), data));

        assertThat(e.problems())
                .extracting(p -> p.field() + " " + p.code())
                .containsExactlyInAnyOrder(
                        "/instance INVALID_EVENT",
                        "/spec/vms/0/memory INVALID_SPEC",
                        "/spec/vms/0/nics/0/segment INVALID_SPEC",
                        "/spec/vms/0/nics/0/mac INVALID_SPEC");
    }

    @Test
    void aWrongTimeAndTextThatIsNoJsonAreToldInPlainWords() {
        Map<String, String> h = goodHeaders();
        h.put("ce_type", "io.holdfast.request.hold.v1");
        byte[] wrong = "{\"checkpoint\":\"cp-1\",\"until\":\"tomorrow\"}".getBytes(UTF_8);

        InvalidEventException time = catchThrowableOfType(InvalidEventException.class, () -> decode(headers(h), wrong));
        InvalidEventException json =
                catchThrowableOfType(InvalidEventException.class, () -> decode(headers(h), "{".getBytes(UTF_8)));

        assertThat(time.problems()).singleElement().satisfies(p -> {
            assertThat(p.field()).isEqualTo("/until");
            assertThat(p.message()).isEqualTo("'tomorrow' is no date-time");
            assertThat(p.remedy()).contains("2027-01-31T00:00:00Z");
        });
        assertThat(json.problems()).singleElement().satisfies(p -> assertThat(p.message())
                .startsWith("not JSON: ")
                .contains("line: 1")
                .doesNotContain("Source"));
    }

    @Test
    void theInstanceOfAnUnreadableRequestIsFoundWhereItCan() {
        assertThat(EventValidator.instanceNamedBy("{\"instance\":\"Lab\",\"x\":1}".getBytes(UTF_8)))
                .isEqualTo("Lab");
        assertThat(EventValidator.instanceNamedBy("{".getBytes(UTF_8))).isNull();
        assertThat(EventValidator.instanceNamedBy(null)).isNull();
        assertThat(EventValidator.instanceNamedBy(new byte[0])).isNull();
    }

    @ParameterizedTest
    @EnumSource
    void anyPartReplacedByJunkIsReadOrRefused(EventType type) throws Exception {
        List<JsonNode> junk = new ArrayList<>();
        for (String text : List.of(
                "null",
                "true",
                "-1",
                "1.5",
                "1e400",
                "99999999999999999999999",
                "\"\"",
                "\"\\u0000\"",
                "[]",
                "{}",
                "[null]",
                "{\"a\":{}}")) {
            junk.add(new ObjectMapper().readTree(text));
        }
        JsonNode example = ContractTest.example(type);
        int places = count(example);
        for (int place = 0; place < places; place++) {
            for (JsonNode j : junk) {
                JsonNode mutant = example.deepCopy();
                replace(mutant, new int[] {place}, j);
                attempt(type, JSON.writeValueAsBytes(mutant));
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void anyBytesDamagedAreReadOrRefused(EventType type) throws Exception {
        Random random = new Random(type.typeName().hashCode());
        byte[] good = JSON.writeValueAsBytes(ContractTest.example(type));
        for (int i = 0; i < 200; i++) {
            byte[] bad = random.nextBoolean() ? good.clone() : Arrays.copyOf(good, random.nextInt(good.length));
            for (int k = random.nextInt(4); k > 0 && bad.length > 0; k--) {
                bad[random.nextInt(bad.length)] = (byte) random.nextInt(256);
            }
            attempt(type, bad);
        }
    }

    private static void attempt(EventType type, byte[] value) {
        Map<String, String> h = goodHeaders();
        h.put("ce_type", type.typeName());
        try {
            assertThat(decode(headers(h), value)).isInstanceOf(type.dataClass());
        } catch (InvalidEventException e) {
            assertThat(e.problems()).isNotEmpty();
        } catch (RuntimeException e) {
            fail("not an InvalidEventException for " + new String(value, UTF_8), e);
        }
        try {
            assertThat(EventCodec.decode(EventCodec.read(headers(h), value))).isInstanceOf(type.dataClass());
        } catch (InvalidEventException e) {
            assertThat(e.problems()).isNotEmpty();
        } catch (RuntimeException e) {
            fail("not an InvalidEventException for " + new String(value, UTF_8), e);
        }
    }

    private static int count(JsonNode node) {
        int n = 0;
        for (JsonNode child : node) {
            n += 1 + count(child);
        }
        return n;
    }

    /** Replaces the place-th member below the node. */
    private static boolean replace(JsonNode node, int[] place, JsonNode junk) {
        if (node instanceof ObjectNode o) {
            List<String> names = new ArrayList<>();
            o.fieldNames().forEachRemaining(names::add);
            for (String name : names) {
                if (place[0]-- == 0) {
                    o.set(name, junk);
                    return true;
                }
                if (replace(o.get(name), place, junk)) {
                    return true;
                }
            }
        } else if (node instanceof ArrayNode a) {
            for (int i = 0; i < a.size(); i++) {
                if (place[0]-- == 0) {
                    a.set(i, junk);
                    return true;
                }
                if (replace(a.get(i), place, junk)) {
                    return true;
                }
            }
        }
        return false;
    }
}
