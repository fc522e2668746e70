package io.holdfast.devstack;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Drives the launcher's functions: it is sourced, which defines them and runs nothing. */
class LauncherTest {
    @TempDir
    Path dir;

    @Test
    void takesTheNewestLongTermJdkAndNotTheNewest() throws Exception {
        jdk("jdk-17", "17.0.15");
        jdk("jdk-21", "21.0.2");
        jdk("jdk-25", "25.0.3");
        jdk("jdk-26", "26");

        assertThat(run("find_jdk").output()).endsWith("jdk-25");
    }

    @Test
    void takesANewerJdkWhenThereIsNoLongTermOne() throws Exception {
        jdk("jdk-17", "17.0.15");
        jdk("jdk-24", "24.0.1");

        assertThat(run("find_jdk").output()).endsWith("jdk-24");
    }

    @Test
    void findsNoJdkWhenAllAreTooOld() throws Exception {
        jdk("jdk-8", "1.8.0_402");
        jdk("jdk-17", "17.0.15");

        assertThat(run("find_jdk").status()).isNotZero();
        assertThat(run("missing").output()).contains("jdk|a JDK 21 or newer");
    }

    @Test
    void javaHomeWinsWhenItIsNewEnough() throws Exception {
        jdk("jdk-25", "25.0.3");
        Path chosen = jdk("my-21", "21.0.2");

        assertThat(run("JAVA_HOME=" + chosen + "; find_jdk").output()).endsWith("my-21");
    }

    @ParameterizedTest
    @CsvSource({
        "9.0,9,true",
        "10.0.2,9,true",
        "9,9,true",
        "8.2.2,9,false",
        "7.2.15,9,false",
        "6.18,6.6,true",
        "6.5,6.6,false"
    })
    void comparesVersionsByNumber(String have, String want, boolean enough) throws Exception {
        assertThat(run("at_least " + have + " " + want).status() == 0).isEqualTo(enough);
    }

    @ParameterizedTest
    @CsvSource({
        "HFPK....,true",
        "HFIX....,true",
        "HFVM....,true",
        "HFSO....,true",
        "HFDEVICE,false",
        "{\"a\":1},false",
        "HF,false"
    })
    void knowsARepositorysObjectByItsBeginning(String content, boolean ofRepository) throws Exception {
        Path file = Files.writeString(dir.resolve("object"), content);

        assertThat(run("is_repository_object --chunks " + file).status() == 0).isEqualTo(ofRepository);
        assertThat(run("is_repository_object -o json " + dir).status()).isNotZero();
        assertThat(run("is_repository_object s3:packs/ab").status()).isZero();
    }

    @Test
    void anOldQemuIsReportedWithItsVersionAndTheReason() throws Exception {
        program("qemu-system-x86_64", "echo 'QEMU emulator version 7.2.15 (Debian 1:7.2)'");

        assertThat(run("missing").output()).contains("qemu|QEMU 9 or newer instead of 7.2.15");
    }

    @Test
    void backportsComeFromWhereTheReleaseComesFrom() throws Exception {
        Path sources =
                Files.createDirectories(dir.resolve("apt/sources.list.d")).resolve("debian.sources");
        Files.writeString(sources, """
                Types: deb
                URIs: http://mirror.invalid/security
                Suites: bookworm-security
                Components: main

                Types: deb
                # a comment
                URIs: http://mirror.invalid/debian
                Suites: bookworm bookworm-updates
                Components: main
                Signed-By: /usr/share/keyrings/some.gpg
                """);

        assertThat(run("backports_source bookworm").output()).isEqualTo("""
                        Types: deb
                        URIs: http://mirror.invalid/debian
                        Suites: bookworm-backports
                        Components: main
                        Signed-By: /usr/share/keyrings/some.gpg""");
    }

    @Test
    void backportsComeFromAnOldStyleListToo() throws Exception {
        Files.writeString(Files.createDirectories(dir.resolve("apt")).resolve("sources.list"), """
                # deb http://other.invalid/debian bookworm main
                deb [arch=amd64 signed-by=/usr/share/keyrings/some.gpg] http://mirror.invalid/debian bookworm main contrib
                """);

        assertThat(run("backports_source bookworm").output()).isEqualTo("""
                        Types: deb
                        URIs: http://mirror.invalid/debian
                        Suites: bookworm-backports
                        Components: main
                        Signed-By: /usr/share/keyrings/some.gpg""");
    }

    @Test
    void thereAreNoBackportsToDeriveWithoutASourceOfTheRelease() throws Exception {
        Files.createDirectories(dir.resolve("apt/sources.list.d"));

        assertThat(run("backports_source bookworm").status()).isNotZero();
    }

    @Test
    void countsTheTestsOfAllReports() throws Exception {
        report("a/target/surefire-reports/TEST-a.xml", 5, 0, 1);
        report("b/target/failsafe-reports/TEST-b.xml", 3, 0, 0);

        Result result = run("root=" + dir + "; count_tests");

        assertThat(result.output()).endsWith("7 passed, 0 failed, 1 skipped");
        assertThat(result.status()).isZero();
    }

    @Test
    void aFailedTestFailsTheCount() throws Exception {
        report("a/target/surefire-reports/TEST-a.xml", 5, 2, 0);

        Result result = run("root=" + dir + "; count_tests");

        assertThat(result.output()).endsWith("3 passed, 2 failed, 0 skipped");
        assertThat(result.status()).isNotZero();
    }

    @Test
    void noTestAtAllFailsTheCount() throws Exception {
        assertThat(run("root=" + dir + "; count_tests").status()).isNotZero();

        report("a/target/surefire-reports/TEST-a.xml", 2, 0, 2);
        Result result = run("root=" + dir + "; count_tests");

        assertThat(result.output()).endsWith("0 passed, 0 failed, 2 skipped");
        assertThat(result.status()).isNotZero();
    }

    @Test
    void sayingWhatASkippedTestWouldHaveNeeded() throws Exception {
        Path file = dir.resolve("a/target/failsafe-reports/TEST-a.xml");
        Files.createDirectories(file.getParent());
        Files.writeString(file, """
                <?xml version="1.0" encoding="UTF-8"?>
                <testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
                    name="a.FirstIT" time="1.0" tests="2" errors="0" skipped="1" failures="0">
                  <testcase name="runs" classname="a.FirstIT" time="0.1"/>
                  <testcase name="needsKvm" classname="a.FirstIT" time="0.1">
                    <skipped message="NOT TESTED: no /dev/kvm"/>
                  </testcase>
                </testsuite>
                """);

        assertThat(run("root=" + dir + "; count_tests").output())
                .isEqualTo("skipped: a.FirstIT.needsKvm: NOT TESTED: no /dev/kvm\n1 passed, 0 failed, 1 skipped");
    }

    @Test
    void withoutRootItSaysSoAndHowToGoOn() throws Exception {
        program("id", "echo 1000");

        Result result = run("preflight demo");

        assertThat(result.status()).isNotZero();
        assertThat(result.output()).contains("root: ").contains("sudo ./holdfast demo");
    }

    @Test
    void anOldKernelIsNamedWithWhatItLacks() throws Exception {
        program("uname", "[ \"$1\" = -m ] && echo x86_64 || echo 6.1.0-37-amd64");

        Result result = run("preflight up");

        assertThat(result.status()).isNotZero();
        assertThat(result.output())
                .contains("Linux 6.6 or newer")
                .contains("TCX")
                .contains("6.1");
    }

    @ParameterizedTest
    @CsvSource({"demo,--help", "up,-h", "test,--help", "down,--help"})
    void askedForHelpItGivesHelpAndDoesNothing(String command, String option) throws Exception {
        Result result =
                run("prepare() { echo prepared; }; command_build() { echo built; }; command_test() { echo tested; }; "
                        + "run_java() { echo ran; }; main " + command + " " + option);

        assertThat(result.status()).isZero();
        assertThat(result.output())
                .startsWith("usage: ./holdfast COMMAND")
                .doesNotContain("prepared", "built", "tested", "ran");
    }

    @Test
    void aStackComesUpWithTheGuestAndWithoutItToo() throws Exception {
        String stubs = "prepare() { :; }; run_java() { echo up; }; ";

        Result with = run(stubs + "build_guest() { echo guest; }; main up");
        Result without = run(stubs + "build_guest() { echo no network; exit 1; }; main up");

        assertThat(with.output()).isEqualTo("guest\nup");
        assertThat(without.status()).isZero();
        assertThat(without.output())
                .startsWith("no network\nnote: no guest was built")
                .endsWith("up");
    }

    @Test
    void aStackCanBeTakenDownWhateverTheSourcesAreNow() throws Exception {
        Path target = dir.resolve("ops/devstack/target");
        Files.createDirectories(target.resolve("lib"));
        Path jar = Files.createFile(target.resolve("holdfast-devstack-1.jar"));
        String stubs = "root=" + dir + "; use_jdk() { :; }; command_build() { echo built; }; "
                + "run_java() { echo \"ran $*\"; }; main down";

        Result built = run(stubs);
        Files.delete(jar);
        Result absent = run(stubs);

        assertThat(built.output()).isEqualTo("ran io.holdfast.devstack.DevStackMain ops/devstack down");
        assertThat(absent.output()).startsWith("built");
    }

    /** What an export runs, without a bucket: {@code made} says how the second half of it goes. */
    private String export(String made) {
        return "run_storage() { mkdir -p \"$3/$2/a\"; echo m > \"$3/$2/checkpoint.json\"; }; "
                + "run_service() { mkdir \"$4/a\"; echo half > \"$4/a/memory.migration\"; " + made + "; }; "
                + "command_export cp-1 " + dir.resolve("out") + "/";
    }

    private List<String> left() throws IOException {
        try (var all = Files.walk(dir)) {
            return all.filter(p -> p.toString().contains("/out"))
                    .map(p -> dir.relativize(p).toString())
                    .sorted()
                    .toList();
        }
    }

    @Test
    void anExportIsThereWhole_alsoInAFolderThatIsThereAndEmpty() throws Exception {
        Files.createDirectory(dir.resolve("out"));

        Result result = run(export("echo \"said: $5\""));

        assertThat(result.status()).as(result.output()).isZero();
        assertThat(result.output()).isEqualTo("said: " + dir.resolve("out"));
        assertThat(left()).containsExactly("out", "out/a", "out/a/memory.migration", "out/checkpoint.json");
    }

    @Test
    void anExportIntoALinkToAnEmptyFolderFillsThatFolder() throws Exception {
        Files.createDirectory(dir.resolve("disk-out"));
        Files.createSymbolicLink(dir.resolve("out"), dir.resolve("disk-out"));

        Result result = run(export(":"));

        assertThat(result.status()).as(result.output()).isZero();
        assertThat(dir.resolve("disk-out/checkpoint.json")).exists();
        assertThat(dir.resolve("disk-out/.partial")).doesNotExist();
        assertThat(dir.resolve("out")).isSymbolicLink();
    }

    @Test
    void anExportThatFailsLeavesNothing() throws Exception {
        Result result = run(export("return 3"));

        assertThat(result.status()).isEqualTo(3);
        assertThat(left()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource({"INT,130", "TERM,143", "HUP,129"})
    void anExportThatIsEndedLeavesNothing_andNothingOfItRunsOn(String signal, int status) throws Exception {
        // Ctrl-C goes to the whole process group of a terminal, a TERM as a rule to the launcher alone
        String whom = signal.equals("INT") ? "-" : "";
        // and signals that who runs the test has ignored (nohup) are no part of it
        Process process = launcher(export("echo made half; exec sleep 1000"), "env", "--default-signal", "setsid");
        try (var said = process.inputReader()) {
            assertThat(said.readLine()).isEqualTo("made half");
            List<ProcessHandle> all = process.descendants().toList();
            assertThat(all).isNotEmpty();

            new ProcessBuilder("kill", "-" + signal, "--", whom + process.pid())
                    .inheritIO()
                    .start()
                    .waitFor();

            assertThat(process.waitFor(20, TimeUnit.SECONDS)).isTrue();
            assertThat(process.exitValue()).isEqualTo(status);
            assertThat(left()).isEmpty();
            assertThat(all).noneMatch(ProcessHandle::isAlive);
        } finally {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
    }

    @Test
    void anExportBesideAnotherOfTheSameNameIsRefused_andTouchesNothingOfIt() throws Exception {
        Files.createDirectories(dir.resolve("out.partial/a"));

        Result result = run(export(":"));

        assertThat(result.status()).isNotZero();
        assertThat(result.output()).contains("out.partial").contains("remove it");
        assertThat(left()).containsExactly("out.partial", "out.partial/a");
    }

    private record Result(int status, String output) {}

    private Result run(String script) throws IOException, InterruptedException {
        Process process = launcher(script);
        String output = new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        assertThat(process.waitFor(20, TimeUnit.SECONDS)).isTrue();
        return new Result(process.exitValue(), output.strip());
    }

    private Process launcher(String script, String... before) throws IOException {
        Path launcher = RepoRoot.find().resolve("holdfast");
        Files.createDirectories(dir.resolve("bin"));
        List<String> command = new ArrayList<>(List.of(before));
        command.addAll(List.of("bash", "-c", "source " + launcher + "; " + script));
        ProcessBuilder builder = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()));
        builder.environment().remove("JAVA_HOME");
        builder.environment().put("HOLDFAST_JVM_FOLDER", dir.resolve("jvm").toString());
        builder.environment().put("HOLDFAST_APT_FOLDER", dir.resolve("apt").toString());
        builder.environment().put("PATH", dir.resolve("bin") + ":" + System.getenv("PATH"));
        return builder.start();
    }

    private Path jdk(String name, String version) throws IOException {
        Path folder = dir.resolve("jvm").resolve(name);
        Files.createDirectories(folder.resolve("bin"));
        executable(folder.resolve("bin/javac"), "exit 0");
        Files.writeString(folder.resolve("release"), "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"" + version + "\"\n");
        return folder;
    }

    private void program(String name, String body) throws IOException {
        Files.createDirectories(dir.resolve("bin"));
        executable(dir.resolve("bin").resolve(name), body);
    }

    private static void executable(Path file, String body) throws IOException {
        Files.write(file, List.of("#!/bin/bash", body));
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private void report(String path, int tests, int failed, int skipped) throws IOException {
        Path file = dir.resolve(path);
        Files.createDirectories(file.getParent());
        Files.writeString(
                file,
                "<?xml version=\"1.0\"?>\n<testsuite name=\"x\" time=\"1\" tests=\"" + tests
                        + "\" errors=\"0\" skipped=\"" + skipped + "\" failures=\"" + failed + "\"/>\n");
    }
}
