# A host's storage service. Build the services first (./holdfast build); context: the repository's root.
# It runs as root because it shares the image folder with the agent, which does.
FROM debian:trixie-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends curl openjdk-21-jre-headless \
    && rm -rf /var/lib/apt/lists/*
COPY storage-svc/target/quarkus-app /opt/holdfast
# Two arenas of malloc: with more of them, what threads freed that are gone stays resident in each (docs/operations.md).
ENV QUARKUS_HTTP_HOST=0.0.0.0 QUARKUS_HTTP_PORT=8082 MALLOC_ARENA_MAX=2
EXPOSE 8082
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD curl -fsS http://127.0.0.1:8082/q/health/ready > /dev/null
ENTRYPOINT ["java", "-XX:+UseSerialGC", "-Xmx256m", "--enable-native-access=ALL-UNNAMED", "-jar", "/opt/holdfast/quarkus-run.jar"]
