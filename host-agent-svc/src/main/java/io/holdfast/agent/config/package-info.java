/** Configuration, wiring, lifecycle, health and metrics of the host agent. */
package io.holdfast.agent.config;
