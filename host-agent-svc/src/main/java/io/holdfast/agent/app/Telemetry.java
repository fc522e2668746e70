package io.holdfast.agent.app;

import io.holdfast.schemas.event.CutFigures;
import java.time.Duration;

/** Where the application logic counts. Thread-safe, never throws. */
public interface Telemetry {
    /** A command has ended. {@code code} is an error code or null. */
    void commandEnded(String phase, String code, Duration took);

    /** A cut has been taken. */
    void cut(CutFigures.HostCut figures);

    /** What runs now. */
    void running(int instances, int vms, int deadVms);

    /** Images written: bytes of RAM that are not holes, and the time after the cut. */
    void written(long dataBytes, Duration took);

    /** Counts nothing. */
    Telemetry NONE = new Telemetry() {
        @Override
        public void commandEnded(String phase, String code, Duration took) {}

        @Override
        public void cut(CutFigures.HostCut figures) {}

        @Override
        public void running(int instances, int vms, int deadVms) {}

        @Override
        public void written(long dataBytes, Duration took) {}
    };
}
