package io.holdfast.storage.app;

import static org.assertj.core.api.Assertions.assertThat;

import io.holdfast.storage.config.StorageConfig;
import io.smallrye.config.PropertiesConfigSource;
import io.smallrye.config.SmallRyeConfig;
import io.smallrye.config.SmallRyeConfigBuilder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ConfigDefaultsTest {
    @Test
    void onlyHostEndpointAndKeysMustBeGiven() {
        SmallRyeConfig raw = new SmallRyeConfigBuilder()
                .addDefaultInterceptors()
                .withMapping(StorageConfig.class)
                .withSources(new PropertiesConfigSource(
                        Map.of(
                                "holdfast.storage.host", "h1",
                                "holdfast.storage.endpoint", "http://s3",
                                "holdfast.storage.access-key", "k",
                                "holdfast.storage.secret-key", "s"),
                        "test",
                        100))
                .build();

        StorageConfig c = raw.getConfigMapping(StorageConfig.class);

        assertThat(c.imageDir()).isEqualTo(Path.of("/var/lib/holdfast/images"));
        assertThat(c.stateDir()).isEqualTo(Path.of("/var/lib/holdfast/storage"));
        assertThat(c.bucket()).isEqualTo("holdfast");
        assertThat(c.prefix()).isEmpty();
        assertThat(c.region()).isEqualTo("us-east-1");
        assertThat(c.createBucket()).isTrue();
        assertThat(c.compressionLevel()).isEqualTo(1);
        assertThat(c.chunkBytes()).isEqualTo(64 * 1024);
        assertThat(c.packBytes()).isEqualTo(16 * 1024 * 1024);
        assertThat(c.grace()).isEqualTo(Duration.ofDays(1));
        assertThat(c.maxUnusedPercent()).isEqualTo(5);
        assertThat(c.repackSmallPercent()).isEqualTo(25);
        assertThat(c.maxRepackBytes()).isEqualTo(64L << 30);
        assertThat(c.workers()).isEqualTo(2);
        assertThat(c.transfers()).isEqualTo(4);
        assertThat(c.retryTime()).isEqualTo(Duration.ofMinutes(1));
        assertThat(c.heartbeat()).isEqualTo(Duration.ofSeconds(1));
        assertThat(c.check()).isEqualTo(Duration.ofSeconds(5));
        assertThat(c.commandMaxAge()).isEqualTo(Duration.ofHours(1));
    }
}
