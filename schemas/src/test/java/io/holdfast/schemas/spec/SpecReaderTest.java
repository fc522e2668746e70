package io.holdfast.schemas.spec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.InvalidEventException;
import io.holdfast.schemas.event.Problem;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SpecReaderTest {
    private static final String GOOD = """
            name: lab
            segments:
              - name: left
              - name: right
                mtu: 9000
            vms:
              - name: a
                memory: 256MiB
                hugepages: on
                kernel: /boot/vmlinuz
                initrd: /boot/initrd.gz
                cmdline: console=ttyS0 hf.nic0=10.0.1.1/24
                nics:
                  - segment: left
                  - segment: right
                    mac: 52:54:00:AA:00:01
              - name: b
                memory: 1GiB
                vcpus: 2
                firmware: /boot/fw.bin
                initrd:
                disks:
                  - {name: root, mode: readonly, file: /srv/root.img}
                  - {name: tmp, mode: scratch, size: 64MiB}
            placement:
              a: h1
            """;

    private static List<Problem> problemsOf(String text) {
        InvalidEventException e = catchThrowableOfType(InvalidEventException.class, () -> SpecReader.read(text));
        assertThat(e).isNotNull();
        return e.problems();
    }

    @Test
    void goodYamlIsReadAndNormalised() throws Exception {
        NetworkSpec spec = SpecReader.read(GOOD);

        NetworkSpec full = SpecNormalizer.normalize(spec);

        assertThat(spec.vm("a").hugepages()).isEqualTo(Hugepages.on);
        assertThat(full.segments()).containsExactly(new SegmentSpec("left", 1450), new SegmentSpec("right", 9000));
        VmSpec a = full.vm("a");
        assertThat(a.vcpus()).isEqualTo(1);
        assertThat(a.cpu()).isEqualTo("qemu64");
        assertThat(a.machine()).isEqualTo("pc-q35-9.0");
        assertThat(a.accelerator()).isEqualTo(Accelerator.auto);
        assertThat(a.console()).isTrue();
        assertThat(a.nics().get(0).mac()).matches("52:54:00(:[0-9a-f]{2}){3}");
        assertThat(a.nics().get(1).mac()).isEqualTo("52:54:00:aa:00:01");
        assertThat(full.vm("b").initrd()).isNull();
        assertThat(full.placement()).containsEntry("a", "h1");
        assertThat(SpecNormalizer.normalize(full)).isEqualTo(full);
    }

    @Test
    void normalisedSpecIsValidAndReadsBackFromJson() throws Exception {
        NetworkSpec full = SpecNormalizer.normalize(SpecReader.read(GOOD));

        NetworkSpec again = SpecReader.read(EventCodec.json().writeValueAsString(full));

        assertThat(again).isEqualTo(full);
    }

    @Test
    void derivedMacsAreTheSameEachTimeAndNeverRepeat() {
        Set<String> taken = new HashSet<>();
        for (int vm = 0; vm < 5000; vm++) {
            String mac = Macs.derive("net", "vm" + vm, 0, taken);
            assertThat(Macs.isUnicast(mac)).isTrue();
            assertThat(taken.add(mac)).isTrue();
        }

        String first = Macs.derive("net", "vm1", 0, Set.of());
        assertThat(Macs.derive("net", "vm1", 0, Set.of())).isEqualTo(first);
        assertThat(Macs.derive("net", "vm1", 0, Set.of(first))).isNotEqualTo(first);
    }

    @Test
    void everyErrorIsToldAtOnceWithItsPathAndLine() {
        List<Problem> problems = problemsOf("""
                name: Bad_Name
                segments:
                  - name: s
                    mtu: 100
                  - name: s
                vms:
                  - name: a
                    memory: 255MiB
                    initrd: /i
                    memroy: 3
                    nics:
                      - segment: nowhere
                      - segment: s
                        mac: 53:54:00:00:00:01
                      - segment: s
                        mac: 53:54:00:00:00:01
                  - name: a
                    memory: lots
                    kernel: relative
                    firmware: /f
                    vcpus: 65
                    disks:
                      - {name: d, mode: readonly}
                      - {name: d, mode: scratch}
                      - {name: e, mode: shared}
                placement:
                  zz: h1
                extra: 1
                """);

        assertThat(problems)
                .extracting(Problem::field)
                .contains(
                        "/name",
                        "/segments/0/mtu",
                        "/segments/1/name",
                        "/vms/0/memory",
                        "/vms/0/initrd",
                        "/vms/0/memroy",
                        "/vms/0/nics/0/segment",
                        "/vms/0/nics/1/mac",
                        "/vms/0/nics/2/mac",
                        "/vms/1/name",
                        "/vms/1/memory",
                        "/vms/1/kernel",
                        "/vms/1/firmware",
                        "/vms/1/vcpus",
                        "/vms/1/disks/0/file",
                        "/vms/1/disks/1/name",
                        "/vms/1/disks/1/size",
                        "/vms/1/disks/2/mode",
                        "/placement/zz",
                        "/extra");
        assertThat(problems).allSatisfy(p -> {
            assertThat(p.code()).isEqualTo(ErrorCode.INVALID_SPEC);
            assertThat(p.message()).startsWith("line ");
            assertThat(p.remedy()).isNotBlank();
        });
        assertThat(problems)
                .filteredOn(p -> p.field().equals("/vms/0/memory"))
                .singleElement()
                .satisfies(p -> assertThat(p.message()).startsWith("line 8: 255MiB is not a multiple"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "   ",
                "null",
                "[]",
                "3",
                "{",
                "{\"name\":1,\"name\":2}",
                "a: 1\na: 2",
                "a: [",
                "\t",
                "a: *x",
                "a: &x 1\nb: *x",
                "name: a\n---\nname: b",
                "? [a]\n: b",
                "!!java.net.URL [\"http://x\"]",
                "vms: {}\nsegments: 3\nplacement: []",
                "vms: [1, [2], null]\nname: [a]",
                "\u0000",
                "{\"name\":\"a\"} trailing",
                "%YAML 9.9\n---\nname: a"
            })
    void junkIsRefusedWithAProblem(String text) {
        assertThat(problemsOf(text)).isNotEmpty();
    }

    @Test
    void bombsAreRefused() {
        String bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\n";

        assertThat(problemsOf(bomb)).singleElement().satisfies(p -> assertThat(p.message())
                .contains("line 1", "anchors and aliases"));
        assertThat(problemsOf("[".repeat(100_000))).isNotEmpty();
        assertThat(problemsOf("{\"a\":".repeat(100_000))).isNotEmpty();
        assertThat(problemsOf("x".repeat(SpecReader.MAX_CHARS + 1)))
                .singleElement()
                .satisfies(p -> assertThat(p.message()).contains("more than"));
    }

    @ParameterizedTest
    @CsvSource({
        "a,true",
        "a-b,true",
        "0,true",
        "-a,false",
        "a-,false",
        "A,false",
        "a.b,false",
        "a/b,false",
        "'',false",
        "'a\n',false",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,true",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,false"
    })
    void namesAreCheckedAlikeByCodeAndSchema(String name, boolean good) throws Exception {
        assertThat(Names.isName(name)).isEqualTo(good);
        var spec = EventCodec.json().createObjectNode().put("name", name);
        assertThat(SpecReader.validate(spec))
                .extracting(Problem::field)
                .satisfies(fields -> assertThat(fields.contains("/name")).isEqualTo(!good));
        if (!good) {
            assertThatThrownBy(() -> Names.check("host", name)).isInstanceOf(IllegalArgumentException.class);
        }
    }

    @ParameterizedTest
    @CsvSource({"1KiB,1024", "3MiB,3145728", "4GiB,4294967296", "1TiB,1099511627776"})
    void sizesAreRead(String text, long bytes) {
        assertThat(Sizes.parse(text)).isEqualTo(bytes);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "0MiB", "1", "1MB", "-1MiB", "9999999999TiB", "1.5GiB", " 1MiB"})
    void badSizesAreRefused(String text) {
        assertThatThrownBy(() -> Sizes.parse(text)).isInstanceOf(IllegalArgumentException.class);
    }
}
