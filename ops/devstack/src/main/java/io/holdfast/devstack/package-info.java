/**
 * The dev stack and what integration tests need of it: Kafka and S3 as child processes, and whole stacks of hosts in
 * network namespaces. Nothing here is used in production.
 */
package io.holdfast.devstack;
