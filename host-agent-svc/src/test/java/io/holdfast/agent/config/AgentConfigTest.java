package io.holdfast.agent.config;

import static org.assertj.core.api.Assertions.assertThat;

import io.smallrye.config.PropertiesConfigSource;
import io.smallrye.config.SmallRyeConfigBuilder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class AgentConfigTest {
    static AgentConfig config(Map<String, String> properties) {
        return new SmallRyeConfigBuilder()
                .withMapping(AgentConfig.class)
                .withConverter(Path.class, 100, v -> v.isEmpty() ? null : Path.of(v))
                .withSources(new PropertiesConfigSource(properties, "test", 100))
                .build()
                .getConfigMapping(AgentConfig.class);
    }

    @Test
    void defaults_areAsDocumented() {
        // When
        AgentConfig config = config(Map.of("holdfast.agent.host", "h1", "holdfast.agent.underlay", "10.0.0.1"));
        // Then
        assertThat(config.stateDir()).isEqualTo(Path.of("/var/lib/holdfast/agent"));
        assertThat(config.imageDir()).isEqualTo(Path.of("/var/lib/holdfast/images"));
        assertThat(config.bootRoots()).isEmpty();
        assertThat(config.netnsPrefix()).isEqualTo("hf-");
        assertThat(config.qemu()).isEqualTo(Path.of("/usr/bin/qemu-system-x86_64"));
        assertThat(config.probeKernel()).isEmpty();
        assertThat(config.stageBytes()).isEqualTo(256L << 20);
        assertThat(config.loadLimit()).isEqualTo(Duration.ofMinutes(5));
        assertThat(config.vxlanPort()).isEqualTo(4789);
        assertThat(config.settle()).isEqualTo(Duration.ofMillis(1));
        assertThat(config.keepImages()).isEqualTo(1);
        assertThat(config.keepUnused()).isEqualTo(Duration.ofDays(7));
        assertThat(config.claimLimit()).isEqualTo(Duration.ofHours(3));
        assertThat(config.pruneEvery()).isEqualTo(Duration.ofMinutes(10));
        assertThat(config.prepareLimit()).isEqualTo(Duration.ofMinutes(1));
        assertThat(config.writeLimit()).isEqualTo(Duration.ofMinutes(10));
        assertThat(config.runLimit()).isEqualTo(Duration.ofSeconds(5));
        assertThat(config.parallelism()).isEqualTo(2);
        assertThat(config.commandRetention()).isEqualTo(Duration.ofHours(24));
        assertThat(config.commandMaxAge()).isEqualTo(Duration.ofMinutes(10));
        assertThat(config.clockTolerance()).isEqualTo(Duration.ofMillis(200));
        assertThat(config.faultInjection()).isFalse();
        assertThat(config.fault()).isEmpty();
        assertThat(config.clockOffset()).isEmpty();
    }

    @Test
    void bootRoots_areAList() {
        // When
        AgentConfig config = config(Map.of(
                "holdfast.agent.host",
                "h1",
                "holdfast.agent.underlay",
                "10.0.0.1",
                "holdfast.agent.boot-roots",
                "/a,/b"));
        // Then
        assertThat(config.bootRoots().orElseThrow()).containsExactly(Path.of("/a"), Path.of("/b"));
    }
}
