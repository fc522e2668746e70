# A host's agent with QEMU. Build the services first (./holdfast build); context: the repository's root.
# It needs a privileged container (network namespaces, TAP, BPF) and a kernel >= 6.6. VMs live in the container: they survive a
# restart of the agent's process, not of the container.
FROM debian:trixie-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        curl iproute2 openjdk-21-jre-headless procps qemu-system-x86 util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --user-group --no-create-home --shell /usr/sbin/nologin holdfast-vm
COPY host-agent-svc/target/quarkus-app /opt/holdfast
ENV QUARKUS_HTTP_HOST=0.0.0.0 QUARKUS_HTTP_PORT=8081
EXPOSE 8081
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD curl -fsS http://127.0.0.1:8081/q/health/ready > /dev/null
ENTRYPOINT ["java", "-XX:+UseSerialGC", "-Xmx512m", "--enable-native-access=ALL-UNNAMED", "-jar", "/opt/holdfast/quarkus-run.jar"]
