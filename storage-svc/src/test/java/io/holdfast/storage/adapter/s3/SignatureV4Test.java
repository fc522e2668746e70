package io.holdfast.storage.adapter.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Instant;
import org.junit.jupiter.api.Test;

class SignatureV4Test {
    @Test
    void pathIsEncodedByBytesAsTheSignatureWantsIt() {
        assertThat(SignatureV4.path("b", "a/b-c_d.e~f")).isEqualTo("/b/a/b-c_d.e~f");
        assertThat(SignatureV4.path("b", "a b+c=ä")).isEqualTo("/b/a%20b%2Bc%3D%C3%A4");
    }

    @Test
    void signatureIsOfTheOneDayAndScope() {
        SignatureV4.Signed one = sign("2026-01-01T23:59:59Z", "secret");
        SignatureV4.Signed next = sign("2026-01-02T00:00:00Z", "secret");

        assertThat(one.date()).isEqualTo("20260101T235959Z");
        assertThat(one.authorization())
                .startsWith("AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request,")
                .matches(".*Signature=[0-9a-f]{64}");
        assertThat(next.authorization()).isNotEqualTo(one.authorization()).contains("/20260102/");
        assertThat(sign("2026-01-01T23:59:59Z", "other").authorization()).isNotEqualTo(one.authorization());
    }

    private static SignatureV4.Signed sign(String time, String secret) {
        return SignatureV4.sign(
                "PUT", "localhost:9000", "/b/k", "0".repeat(64), "us-east-1", "key", secret, Instant.parse(time));
    }
}
