/** Commands in, reports and heartbeats out: CloudEvents in Kafka records, over SmallRye channels. */
package io.holdfast.agent.adapter.kafka;
