package io.holdfast.agent.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 30, unit = TimeUnit.SECONDS)
class StageTest {
    private static void put(Stage stage, StagePool.Segment s, int value, int n) {
        int from = (int) (stage.roomAddress() - s.address);
        for (int i = 0; i < n; i++) {
            s.buffer.put(from + i, (byte) value);
        }
        stage.filled(n);
    }

    @Test
    void givenAFullSegmentThatTheWriterGaveBackWhenAnotherStreamHasItThenTheFirstReaderTakesADifferentOne()
            throws Exception {
        // Given: one reader has filled a segment, its writer has taken all of it and given it back
        var pool = new StagePool(2L * StagePool.SEGMENT);
        var first = new Stage(pool);
        var second = new Stage(pool);
        StagePool.Segment s = first.room();
        put(first, s, 1, StagePool.SEGMENT);
        assertThat(first.next().remaining()).isEqualTo(StagePool.SEGMENT);
        var writer = new CompletableFuture<ByteBuffer>();
        Thread thread = Thread.ofPlatform().start(() -> {
            try {
                writer.complete(first.next());
            } catch (IOException | InterruptedException e) {
                writer.completeExceptionally(e);
            }
        });
        await().until(() -> pool.inUse() == 0);
        // When: another stream's reader gets that segment
        StagePool.Segment reused = second.room();
        assertThat(reused).isSameAs(s);
        put(second, reused, 2, 10);
        // Then
        StagePool.Segment next = first.room();
        assertThat(next).isNotSameAs(reused);
        put(first, next, 1, 5);
        assertThat(writer.get(10, TimeUnit.SECONDS).get(0)).isEqualTo((byte) 1);
        thread.join();
        ByteBuffer b = second.next();
        assertThat(b.remaining()).isEqualTo(10);
        assertThat(b.get(0)).isEqualTo((byte) 2);
    }

    @Test
    void givenManyVmsOfAHostWhenTheirSnapshotsArePreparedThenNoneMakesMemoryInItsPause() {
        // Given
        var pool = new StagePool(64L * StagePool.SEGMENT);
        // When
        List<Stage> stages =
                IntStream.range(0, 6).mapToObj(n -> new Stage(pool)).toList();
        // Then: one for each stream, one for each VM's copies
        assertThat(pool.free()).isEqualTo(12);
        // When
        stages.forEach(Stage::release);
        new Stage(pool).release();
        // Then
        assertThat(pool.free()).isEqualTo(12);
    }

    @Test
    void givenAStreamThatHasTakenAllItMayWhenPagesAreKeptThenThereIsRoomForThem() throws Exception {
        // Given: of eight segments a quarter is not for streams
        var pool = new StagePool(8L * StagePool.SEGMENT);
        for (int i = 0; i < 6; i++) {
            assertThat(pool.take(() -> false, nanos -> {})).isNotNull();
        }
        // When, Then
        assertThat(pool.take(() -> true, nanos -> {})).isNull();
        var reader = new CompletableFuture<StagePool.Segment>();
        Thread thread = Thread.ofPlatform().start(() -> {
            try {
                reader.complete(pool.take(() -> false, nanos -> {}));
            } catch (InterruptedException e) {
                reader.completeExceptionally(e);
            }
        });
        await().until(() -> thread.getState() == Thread.State.WAITING);
        StagePool.Segment copy = pool.takeForCopies(false, () -> false, () -> {}, nanos -> {});
        assertThat(copy).isNotNull();
        assertThat(pool.takeForCopies(false, () -> false, () -> {}, nanos -> {}))
                .isNotNull();
        assertThat(reader).isNotDone();
        // a copy that is used up makes no room for a stream, a second and a third do
        pool.give(copy);
        pool.give(pool.takeForCopies(false, () -> false, () -> {}, nanos -> {}));
        assertThat(reader).isNotDone();
        thread.interrupt();
        thread.join();
    }

    @Test
    void givenMoreThanHalfInUseWhenAVmBeginsToKeepPagesThenItWaitsAndSaysSoBefore() throws Exception {
        // Given
        var pool = new StagePool(8L * StagePool.SEGMENT);
        for (int i = 0; i < 4; i++) {
            assertThat(pool.takeForCopies(true, () -> false, () -> {}, nanos -> {}))
                    .isNotNull();
        }
        // When: a fifth one begins
        var said = new AtomicInteger();
        assertThatThrownBy(() -> pool.takeForCopies(
                        true,
                        () -> false,
                        () -> {
                            said.incrementAndGet();
                            Thread.currentThread().interrupt();
                        },
                        nanos -> {}))
                .isInstanceOf(InterruptedException.class);
        // Then: it has waited, while streams and who keeps pages already have room
        assertThat(said).hasValue(1);
        assertThat(pool.take(() -> false, nanos -> {})).isNotNull();
        assertThat(pool.takeForCopies(false, () -> false, () -> {}, nanos -> {}))
                .isNotNull();
    }

    @Test
    void givenAKeptPageWhenTheWriterWaitsForBytesThenItIsWokenForIt() throws Exception {
        // Given
        var pool = new StagePool(0);
        var stage = new Stage(pool);
        StagePool.Segment s = pool.takeForCopies(false, () -> false, () -> {}, nanos -> {});
        var woken = new CompletableFuture<ByteBuffer>();
        Thread writer = Thread.ofPlatform().start(() -> {
            try {
                woken.complete(stage.next());
            } catch (IOException | InterruptedException e) {
                woken.completeExceptionally(e);
            }
        });
        await().until(() -> writer.getState() == Thread.State.WAITING);
        // When
        var copy = new CopyOnWrite.Copy("ram0", 4096, s, 0, 4096, true);
        stage.copied(copy);
        // Then
        assertThat(woken.get(10, TimeUnit.SECONDS).hasRemaining()).isFalse();
        writer.join();
        assertThat(stage.nextCopy()).isEqualTo(copy);
        assertThat(stage.nextCopy()).isNull();
        // What nobody took is given back at the end
        stage.copied(copy);
        stage.release();
        assertThat(pool.inUse()).isZero();
    }

    @Test
    void givenBytesInPiecesWhenTakenThenTheyComeInOrderAndTheMemoryGoesBack() throws Exception {
        var pool = new StagePool(0);
        var stage = new Stage(pool);
        StagePool.Segment s = stage.room();
        put(stage, s, 1, 10);
        assertThat(stage.next().remaining()).isEqualTo(10);
        put(stage, s, 2, StagePool.SEGMENT - 10);
        StagePool.Segment second = stage.room();
        assertThat(second).isNotSameAs(s);
        put(stage, second, 3, 5);
        stage.end(null);

        ByteBuffer b = stage.next();
        assertThat(b.remaining()).isEqualTo(StagePool.SEGMENT - 10);
        assertThat(b.get(0)).isEqualTo((byte) 2);
        assertThat(stage.next().get(0)).isEqualTo((byte) 3);
        assertThat(stage.next()).isNull();
        stage.release();
        assertThat(pool.inUse()).isZero();
    }

    @Test
    void givenAllMemoryInUseWhenGivenUpThenTheWaitingReaderEnds() throws Exception {
        var pool = new StagePool(0);
        var stage = new Stage(pool);
        fill(stage);
        var waiting = new CompletableFuture<StagePool.Segment>();
        Thread reader = waitsForRoom(stage, waiting);

        stage.giveUp();

        assertThat(waiting.get(10, TimeUnit.SECONDS)).isNull();
        assertThatThrownBy(stage::next).isInstanceOf(IOException.class);
        reader.join();
        stage.release();
        assertThat(pool.inUse()).isZero();
    }

    @Test
    void givenAllMemoryInUseWhenTheWriterGivesSomeBackThenTheTimeOfTheWaitIsKnown() throws Exception {
        var stage = new Stage(new StagePool(0));
        fill(stage);
        assertThat(stage.stalledNanos()).isZero();
        var waiting = new CompletableFuture<StagePool.Segment>();
        long before = System.nanoTime();
        Thread reader = waitsForRoom(stage, waiting);

        assertThat(stage.next().remaining()).isEqualTo(StagePool.SEGMENT);
        assertThat(stage.next().remaining()).isEqualTo(StagePool.SEGMENT); // gives the first one back

        assertThat(waiting.get(10, TimeUnit.SECONDS)).isNotNull();
        reader.join();
        assertThat(stage.stalledNanos()).isBetween(1L, System.nanoTime() - before);
        stage.release();
    }

    /** Both segments of the smallest pool. */
    private static void fill(Stage stage) throws InterruptedException {
        for (int i = 0; i < 2; i++) {
            put(stage, stage.room(), 1, StagePool.SEGMENT);
        }
    }

    private static Thread waitsForRoom(Stage stage, CompletableFuture<StagePool.Segment> waiting) {
        Thread reader = Thread.ofPlatform().start(() -> {
            try {
                waiting.complete(stage.room());
            } catch (InterruptedException e) {
                waiting.completeExceptionally(e);
            }
        });
        await().until(() -> reader.getState() == Thread.State.WAITING);
        return reader;
    }

    @Test
    void givenAFailedReaderWhenDrainedThenTheWriterGetsItsFailure() throws Exception {
        var stage = new Stage(new StagePool(0));
        StagePool.Segment s = stage.room();
        put(stage, s, 1, 3);
        stage.end(new IOException("broken pipe"));

        assertThat(stage.next().remaining()).isEqualTo(3);
        assertThatThrownBy(stage::next).hasMessage("broken pipe");
        stage.release();
    }
}
