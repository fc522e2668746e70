/** The binding of libholdfast (module native): the only place of the agent that calls native code. */
package io.holdfast.agent.nat;
