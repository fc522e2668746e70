package io.holdfast.e2e;

import java.nio.file.Path;

/** A stack that this program may use, and break. */
public interface Stack extends AutoCloseable {
    /** Where everything is. */
    Lab lab();

    /** Ends the agent of a host with SIGKILL. */
    void killAgent(String host);

    /** Starts the agent of a host again and waits until it is ready. */
    void startAgent(String host);

    /** Ends a process of the stack with SIGKILL, such as {@code coordinator}. */
    void kill(String process);

    /** Starts such a process again and waits until it is ready. */
    void start(String process);

    /** Stops a process of the stack with SIGSTOP, such as {@code kafka}: it answers nothing until {@link #thaw}. */
    void freeze(String process);

    /** Lets a process run on that {@link #freeze} has stopped. */
    void thaw(String process);

    /** Log of the times in which the JVM of a host's agent stood. */
    Path agentSafepoints(String host);

    /** Takes down what was started here; nothing when the stack was up before. */
    @Override
    void close();
}
