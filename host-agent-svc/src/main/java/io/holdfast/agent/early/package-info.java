/** What an agent does before everything else: see {@link io.holdfast.agent.early.Rescue}. Knows the JDK, JSON's parser and fault points only. */
package io.holdfast.agent.early;
