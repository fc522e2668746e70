package io.holdfast.schemas.spec;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.JsonSchemas;
import io.holdfast.schemas.event.Problem;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Reads a network spec, YAML or JSON, and tells everything that is wrong with it at once. Input is hostile: it is
 * bounded in size and depth, and YAML's aliases, duplicate keys and further documents are refused. Thread-safe.
 */
public final class SpecReader {
    /** Longest text that is read, in characters. */
    public static final int MAX_CHARS = 1 << 20;

    /** Name of the schema file. */
    public static final String SCHEMA = "network-spec.v1.schema.json";

    static final int MAX_DEPTH = 16;

    private static final long HUGE_PAGE = 2L << 20;
    private static final long MAX_MEMORY = 16L << 40;
    private static final JsonMapper JSON = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(StreamReadConstraints.builder()
                            .maxNestingDepth(MAX_DEPTH)
                            .build())
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    private SpecReader() {}

    /**
     * Reads and validates a spec. Defaults are not filled in: {@link SpecNormalizer} does that.
     *
     * @param text YAML, or JSON when its first character is an opening brace
     * @throws InvalidEventException with every problem found; messages name the line where it is known
     */
    public static NetworkSpec read(String text) throws InvalidEventException {
        if (text.length() > MAX_CHARS) {
            throw refused("", "the spec has more than " + MAX_CHARS + " characters", "make it shorter");
        }
        Map<String, Integer> lines = new HashMap<>();
        JsonNode node = text.stripLeading().startsWith("{") ? json(text) : YamlTree.read(text, lines);
        if (node == null || node.isMissingNode() || node.isNull()) {
            throw refused("", "the spec is empty", "describe a network: name, segments, vms");
        }
        List<Problem> problems = validate(node);
        if (!problems.isEmpty()) {
            throw new InvalidEventException(
                    problems.stream().map(p -> withLine(p, lines)).toList());
        }
        return bind(node);
    }

    /** Every problem of a spec, by its schema and beyond; empty when it is valid. */
    public static List<Problem> validate(JsonNode spec) {
        return validate(spec, "");
    }

    /**
     * Every problem of a spec that is part of something larger.
     *
     * @param prefix JSON pointer of the spec, such as {@code /spec}
     */
    public static List<Problem> validate(JsonNode spec, String prefix) {
        List<Problem> problems = new ArrayList<>(JsonSchemas.problems(SCHEMA, spec, ErrorCode.INVALID_SPEC, prefix));
        problems.addAll(meaning(spec, prefix));
        return List.copyOf(problems);
    }

    /** The problems that a schema cannot tell. Parts of the wrong type are passed over. */
    public static List<Problem> meaning(JsonNode spec, String prefix) {
        Checks checks = new Checks(prefix);
        checks.network(JsonSchemas.withoutNulls(spec));
        return checks.problems;
    }

    private static JsonNode json(String text) throws InvalidEventException {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException e) {
            JsonLocation at = e.getLocation();
            throw refused(
                    "",
                    (at == null ? "" : "line " + at.getLineNr() + ", column " + at.getColumnNr() + ": ")
                            + firstLine(e.getOriginalMessage()),
                    "mend the JSON");
        }
    }

    private static NetworkSpec bind(JsonNode node) throws InvalidEventException {
        try {
            return EventCodec.json().treeToValue(node, NetworkSpec.class);
        } catch (JsonProcessingException | IllegalArgumentException | NullPointerException e) {
            throw refused("", "the spec cannot be read: " + firstLine(e.getMessage()), "compare it with the schema");
        }
    }

    static InvalidEventException refused(String field, String message, String remedy) {
        return new InvalidEventException(List.of(new Problem(ErrorCode.INVALID_SPEC, field, message, remedy)));
    }

    static String firstLine(String message) {
        return message == null ? "unreadable" : message.lines().findFirst().orElse("unreadable");
    }

    /** The problem with its line, or that of the nearest enclosing part. */
    private static Problem withLine(Problem p, Map<String, Integer> lines) {
        for (String at = p.field(); ; at = at.substring(0, at.lastIndexOf('/'))) {
            Integer line = lines.get(at);
            if (line != null) {
                return new Problem(p.code(), p.field(), "line " + line + ": " + p.message(), p.remedy());
            }
            if (at.isEmpty()) {
                return p;
            }
        }
    }

    private static final class Checks {
        private final String prefix;
        private final List<Problem> problems = new ArrayList<>();
        private final Map<String, String> macs = new HashMap<>();

        Checks(String prefix) {
            this.prefix = prefix;
        }

        void add(String field, String message, String remedy) {
            problems.add(new Problem(ErrorCode.INVALID_SPEC, prefix + field, message, remedy));
        }

        void network(JsonNode spec) {
            Set<String> segments = unique(spec.path("segments"), "/segments", "segment");
            Set<String> vms = unique(spec.path("vms"), "/vms", "VM");
            int i = 0;
            for (JsonNode vm : spec.path("vms")) {
                vm(vm, "/vms/" + i++, segments);
            }
            JsonNode placement = spec.path("placement");
            placement.fieldNames().forEachRemaining(name -> {
                if (!vms.contains(name)) {
                    add(
                            JsonSchemas.pointer("/placement", name),
                            "no VM is named " + Names.quote(name),
                            "place only VMs of this network: " + some(vms));
                }
            });
        }

        private Set<String> unique(JsonNode list, String at, String what) {
            Map<String, String> seen = new LinkedHashMap<>();
            int i = 0;
            for (JsonNode item : list) {
                String field = at + "/" + i++ + "/name";
                JsonNode name = item.path("name");
                if (name.isTextual()) {
                    String first = seen.putIfAbsent(name.asText(), field);
                    if (first != null) {
                        add(
                                field,
                                "a second " + what + " named " + Names.quote(name.asText()) + ", the first is at "
                                        + prefix + first,
                                "give each " + what + " a name of its own");
                    }
                }
            }
            return seen.keySet();
        }

        private void vm(JsonNode vm, String at, Set<String> segments) {
            boolean kernel = vm.has("kernel");
            if (kernel && vm.has("firmware")) {
                add(at + "/firmware", "both firmware and kernel are given", "keep one of them");
            }
            for (String part : List.of("initrd", "cmdline")) {
                if (vm.has(part) && !kernel) {
                    add(at + "/" + part, part + " is given without a kernel", "add kernel or remove " + part);
                }
            }
            if (vm.isObject()
                    && !kernel
                    && !vm.has("firmware")
                    && vm.path("disks").isEmpty()) {
                add(at, "the VM has nothing to boot from", "add kernel, firmware or a disk");
            }
            size(vm.path("memory"), at + "/memory", HUGE_PAGE, "2MiB", MAX_MEMORY);
            unique(vm.path("disks"), at + "/disks", "disk");
            int d = 0;
            for (JsonNode disk : vm.path("disks")) {
                disk(disk, at + "/disks/" + d++);
            }
            int n = 0;
            for (JsonNode nic : vm.path("nics")) {
                nic(nic, at + "/nics/" + n++, segments);
            }
        }

        private void size(JsonNode node, String at, long unit, String unitName, long max) {
            if (!node.isTextual()) {
                return;
            }
            long bytes;
            try {
                bytes = Sizes.parse(node.asText());
            } catch (IllegalArgumentException e) {
                if (String.valueOf(e.getMessage()).contains("large")) {
                    add(at, e.getMessage(), "choose a smaller size");
                }
                return; // the schema has said the rest
            }
            if (bytes % unit != 0) {
                add(at, node.asText() + " is not a multiple of " + unitName, "round it up");
            }
            if (bytes > max) {
                add(at, node.asText() + " is more than " + (max >> 40) + "TiB", "choose a smaller size");
            }
        }

        private void disk(JsonNode disk, String at) {
            size(disk.path("size"), at + "/size", 4096, "4KiB", MAX_MEMORY);
            switch (disk.path("mode").asText()) {
                case "readonly" -> {
                    if (!disk.has("file")) {
                        add(at + "/file", "a readonly disk needs a file", "name a raw image on the hosts");
                    }
                    if (disk.has("size")) {
                        add(at + "/size", "a readonly disk takes its size from its file", "remove size");
                    }
                }
                case "scratch" -> {
                    if (!disk.has("size")) {
                        add(at + "/size", "a scratch disk needs a size", "add size, such as 1GiB");
                    }
                    if (disk.has("file")) {
                        add(at + "/file", "a scratch disk begins empty", "remove file, or use mode readonly");
                    }
                }
                default -> {
                    // the schema says so
                }
            }
        }

        private void nic(JsonNode nic, String at, Set<String> segments) {
            JsonNode segment = nic.path("segment");
            if (segment.isTextual() && !segments.contains(segment.asText())) {
                add(
                        at + "/segment",
                        "no segment is named " + Names.quote(segment.asText()),
                        "segments of this network: " + some(segments));
            }
            JsonNode macNode = nic.path("mac");
            String mac = Macs.normal(macNode.isTextual() ? macNode.asText() : "");
            if (mac == null) {
                return;
            }
            if (!Macs.isUnicast(mac)) {
                add(
                        at + "/mac",
                        Names.quote(mac) + " is not a unicast address",
                        "make the second hex digit even, such as 52:54:00:12:34:56");
            }
            String first = macs.putIfAbsent(mac, at + "/mac");
            if (first != null) {
                add(
                        at + "/mac",
                        Names.quote(mac) + " is used already at " + prefix + first,
                        "give each NIC an address of its own, or none");
            }
        }

        private static String some(Set<String> names) {
            Set<String> shown = new HashSet<>(names);
            return names.isEmpty()
                    ? "there is none"
                    : String.join(", ", shown.stream().sorted().limit(10).toList())
                            + (names.size() > 10 ? ", ..." : "");
        }
    }
}
