package io.holdfast.devstack;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FastStartTest {
    @TempDir
    Path dir;

    @Test
    void anArchiveIsUsedUntilSomethingIsBuiltAfterIt() throws Exception {
        Path one = file("one.jar", 1000);
        Path other = file("other.jar", 3000);
        Path archive = file("agent.jsa", 2000);
        Path absent = dir.resolve("absent");

        assertThat(FastStart.isCurrent(archive, List.of(one, absent))).isTrue();
        assertThat(FastStart.isCurrent(archive, List.of(one, other))).isFalse();
        assertThat(FastStart.isCurrent(absent, List.of(one))).isFalse();
    }

    private Path file(String name, long millis) throws Exception {
        return Files.setLastModifiedTime(Files.createFile(dir.resolve(name)), FileTime.fromMillis(millis));
    }
}
