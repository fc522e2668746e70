package io.holdfast.devstack;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ServersIT {
    @TempDir
    Path dir;

    @Test
    void aBrokerAnswersAlsoAfterItWasKilledAndIsGoneWhenClosed() {
        ProcessIds first;
        ProcessIds second;
        int port = ProcessKit.freePort();
        try (KafkaBroker broker = KafkaBroker.start(dir, port)) {
            first = broker.ids();
            broker.kill();
            assertThat(KafkaBroker.answers("127.0.0.1", port)).isFalse();

            broker.resume();

            assertThat(KafkaBroker.answers("127.0.0.1", port)).isTrue();
            second = broker.ids();
        }
        assertThat(first.isAlive()).isFalse();
        assertThat(second.isAlive()).isFalse();
    }

    @Test
    void anS3ServerRefusesAStrangerAndIsGoneWhenClosed() throws Exception {
        ProcessIds ids;
        try (S3Server server = S3Server.start(dir, 0);
                HttpClient http = HttpClient.newHttpClient()) {
            ids = server.ids();

            HttpResponse<String> answer = http.send(
                    HttpRequest.newBuilder(URI.create(server.endpoint() + "/" + server.bucket()))
                            .build(),
                    HttpResponse.BodyHandlers.ofString());

            assertThat(answer.statusCode()).isEqualTo(403);
        }
        assertThat(ids.isAlive()).isFalse();
    }
}
