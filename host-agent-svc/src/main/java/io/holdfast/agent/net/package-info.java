/** Instances' networks on this host: namespaces, bridges, VXLAN, TAPs, gates and cookies. */
package io.holdfast.agent.net;
