package io.holdfast.storage.it;

import io.holdfast.devstack.FaultProxy;
import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;

/** Tests on a real S3 server behind a proxy that does what networks and servers do at their worst; it is healed after each test. */
abstract class ProxiedBucketTest extends BucketTest {
    FaultProxy proxy;

    @Override
    Server start() throws Exception {
        Server server = super.start();
        proxy = FaultProxy.before(server.endpoint());
        return server;
    }

    @AfterAll
    void endProxy() {
        if (proxy != null) {
            proxy.close();
        }
    }

    @AfterEach
    void heal() {
        proxy.heal();
        proxy.latency(Duration.ZERO);
        proxy.forget();
    }

    @Override
    String endpoint() {
        return proxy.endpoint();
    }
}
