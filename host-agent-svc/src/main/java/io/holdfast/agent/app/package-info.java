/**
 * What a host agent does with commands: instances, checkpoints, restarts, takeover, heartbeats. Works on the ports of
 * {@code io.holdfast.agent.domain} and on files of the state folder; knows no Kafka, HTTP, QEMU or CDI class.
 */
package io.holdfast.agent.app;
