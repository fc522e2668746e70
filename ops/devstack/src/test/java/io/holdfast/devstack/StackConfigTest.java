package io.holdfast.devstack;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class StackConfigTest {
    private static final StackConfig CONFIG = StackConfig.of("hfx", Path.of("/tmp/hfx/home"), "10.99.0");

    @ParameterizedTest
    @ValueSource(strings = {"hfx-net", "hfx-h1", "hfx-h12", "hfx-h1-net", "hfx-h3-clone-2"})
    void ownsItsHostsUnderlayAndInstances(String namespace) {
        assertThat(CONFIG.owns(namespace)).isTrue();
    }

    @ParameterizedTest
    @ValueSource(strings = {"hfx", "hfxy-h1", "hf-h1", "hfd-h1-net", "hfx-host", "xhfx-h1", "hfx-network", "hfx-h"})
    void doesNotOwnWhatOnlyLooksLikeItsOwn(String namespace) {
        assertThat(CONFIG.owns(namespace)).isFalse();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "Hfd", "1hf", "hf-d", "muchtoolong", "hf.*"})
    void refusesANameThatWouldNotBeSafeInAPatternOrAnInterface(String name) {
        assertThatThrownBy(() -> StackConfig.of(name, Path.of("/tmp/hfx/home"), "10.99.0"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("stack name");
    }

    @ParameterizedTest
    @ValueSource(strings = {"/", "/var"})
    void refusesAHomeThatDownMustNotDelete(String home) {
        assertThatThrownBy(() -> StackConfig.of("hfx", Path.of(home), "10.99.0"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("too near the root");
    }

    @Test
    void comesBackFromItsRecordUnchanged() throws Exception {
        StackConfig config =
                CONFIG.withHosts(5).withImageFolderSize("h2", "64m").withSetting("holdfast.agent.parallelism", "1");
        ObjectMapper json = new ObjectMapper();

        StackConfig read = json.treeToValue(json.readTree(json.writeValueAsString(config)), StackConfig.class);

        assertThat(read).isEqualTo(config);
        assertThat(read.address("h5")).isEqualTo("10.99.0.15");
    }
}
