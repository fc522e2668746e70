/** Taking a host's part of a cut. */
package io.holdfast.agent.cut;
