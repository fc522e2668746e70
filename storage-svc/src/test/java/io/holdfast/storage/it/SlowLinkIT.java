package io.holdfast.storage.it;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.holdfast.devstack.FaultProxy.Fault;
import io.holdfast.devstack.FaultProxy.Seen;
import io.holdfast.storage.adapter.s3.S3ObjectStore;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Reads over a link that is slow and breaks: what came is kept, and a transfer that goes on costs no patience. */
class SlowLinkIT extends ProxiedBucketTest {
    private static final String KEY = KEYS.packs() + "x";
    private static final int SIZE = 4 << 20;
    private byte[] content;
    private S3ObjectStore impatient;

    private Duration silence = Duration.ofSeconds(2);

    @Override
    Duration silence() {
        return silence;
    }

    @BeforeEach
    void anObject() throws Exception {
        content = new byte[SIZE];
        new Random(1).nextBytes(content);
        store.put(KEY, content, 0, SIZE);
        impatient = connect(Duration.ofMillis(500));
        proxy.forget();
    }

    /** A call takes 3 s at most, and the whole object 6.4 s. */
    private AtomicInteger slowLink() {
        silence = Duration.ofMillis(300);
        impatient = connect(Duration.ofMillis(500));
        silence = Duration.ofSeconds(2);
        return proxy.inject(Fault.SLOW_ANSWER, 0, SlowLinkIT::isGet);
    }

    private static boolean isGet(Seen s) {
        return s.method().equals("GET");
    }

    private byte[] range() throws StorageException {
        byte[] into = new byte[SIZE];
        impatient.getRange(KEY, 0, into, 0, SIZE);
        return into;
    }

    private byte[] whole() throws StorageException {
        ByteBuffer data = impatient.get(KEY, SIZE, Room.HEAP);
        byte[] into = new byte[data.remaining()];
        data.get(into);
        return into;
    }

    private long gets() {
        return proxy.seen().stream().filter(SlowLinkIT::isGet).count();
    }

    @Test
    void aReadThatIsSlowerThanACallMayBeGoesOnWhereItWas() throws Exception {
        AtomicInteger slow = slowLink();

        assertThat(range()).isEqualTo(content);

        assertThat(slow.get()).isBetween(2, 12);
    }

    @Test
    void theSameHoldsOfAnObjectThatIsReadWhole() throws Exception {
        AtomicInteger slow = slowLink();

        assertThat(whole()).isEqualTo(content);
        assertThat(impatient.get(KEY, SIZE)).isEqualTo(content);

        assertThat(slow.get()).isBetween(4, 24);
    }

    @Test
    void aConnectionThatBreaksInALongTransferIsNoReasonToGiveUp_howeverOften() throws Exception {
        // Given: each answer comes half, all of them later than the time for which errors are tried again
        proxy.latency(Duration.ofMillis(120));
        AtomicInteger cut = proxy.inject(Fault.CUT_ANSWER, 5, SlowLinkIT::isGet);

        assertThat(range()).isEqualTo(content);

        assertThat(cut.get()).isEqualTo(5);
        assertThat(gets()).isEqualTo(6);
    }

    @Test
    void theTimeForErrorsBeginsWithTheFirstOne() throws Exception {
        // Given: a connection that comes later than the time for which errors are tried again
        S3ObjectStore its = connect(Duration.ofMillis(200));
        proxy.latency(Duration.ofMillis(250));
        proxy.inject(Fault.LOSE_ANSWER, 1, SlowLinkIT::isGet);
        byte[] into = new byte[1];

        its.getRange(KEY, 7, into, 0, 1);

        assertThat(into[0]).isEqualTo(content[7]);
    }

    @Test
    void whatNeverComesFurtherIsGivenUp() {
        proxy.inject(Fault.LOSE_ANSWER, 0, SlowLinkIT::isGet);

        assertThatThrownBy(this::range)
                .isInstanceOf(StorageException.class)
                .hasMessageContaining(KEY)
                .hasMessageContaining("times");
    }
}
