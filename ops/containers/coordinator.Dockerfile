# The coordinator. Build the services first (./holdfast build); context: the repository's root.
FROM debian:trixie-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends curl openjdk-21-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home holdfast
COPY coordinator-svc/target/quarkus-app /opt/holdfast
USER holdfast
ENV QUARKUS_HTTP_HOST=0.0.0.0 QUARKUS_HTTP_PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD curl -fsS http://127.0.0.1:8080/q/health/ready > /dev/null
ENTRYPOINT ["java", "-XX:+UseSerialGC", "-Xmx256m", "--enable-native-access=ALL-UNNAMED", "-jar", "/opt/holdfast/quarkus-run.jar"]
