package io.holdfast.storage.adapter.s3;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.storage.domain.ChunkId;
import io.holdfast.storage.domain.ObjectStore;
import io.holdfast.storage.domain.Room;
import io.holdfast.storage.domain.StorageException;
import io.minio.BucketExistsArgs;
import io.minio.GetObjectArgs;
import io.minio.GetObjectLockConfigurationArgs;
import io.minio.GetObjectResponse;
import io.minio.GetObjectRetentionArgs;
import io.minio.ListObjectsArgs;
import io.minio.MakeBucketArgs;
import io.minio.MinioClient;
import io.minio.PutObjectArgs;
import io.minio.RemoveObjectArgs;
import io.minio.Result;
import io.minio.SetObjectRetentionArgs;
import io.minio.StatObjectArgs;
import io.minio.Xml;
import io.minio.errors.ErrorResponseException;
import io.minio.errors.InsufficientDataException;
import io.minio.errors.InternalException;
import io.minio.errors.InvalidResponseException;
import io.minio.errors.MinioException;
import io.minio.errors.ServerException;
import io.minio.errors.XmlParserException;
import io.minio.messages.ErrorResponse;
import io.minio.messages.Item;
import io.minio.messages.Retention;
import io.minio.messages.RetentionDurationUnit;
import io.minio.messages.RetentionMode;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import okhttp3.ConnectionPool;
import okhttp3.Dispatcher;
import okhttp3.HttpUrl;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okio.BufferedSink;
import org.jboss.logging.Logger;

/** Any S3 server, through minio-java. Uses put, get with ranges, head, list and delete; Object Lock where it is asked for. Thread-safe. */
public final class S3ObjectStore implements ObjectStore, AutoCloseable {
    private static final Logger LOG = Logger.getLogger(S3ObjectStore.class);
    private static final Set<String> ABSENT = Set.of("NoSuchKey", "NotFound", "NoSuchObject");
    private static final Set<String> TRANSIENT = Set.of(
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "RequestTimeout",
            "InternalError",
            "ServiceUnavailable",
            "Throttling",
            "OperationAborted",
            "XMinioServerNotInitialized");
    private static final Set<String> FULL =
            Set.of("XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "XMinioAdminBucketQuotaExceeded");
    private static final int INSUFFICIENT_STORAGE = 507;
    private static final MediaType OCTETS = MediaType.get("application/octet-stream");
    private static final Set<String> NO_LOCK = Set.of(
            "NotImplemented",
            "MethodNotAllowed",
            "ObjectLockConfigurationNotFoundError",
            "InvalidBucketObjectLockConfiguration",
            "InvalidBucketState");
    private static final String NO_CONTENT = ChunkId.of(new byte[0]).hex();
    private static final int MAX_ERROR = 64 * 1024;
    private static final int MIN_PART = 5 * 1024 * 1024;
    private static final long LARGE_PART = 16L << 20;
    private static final int PIECE = 64 * 1024;

    /**
     * Where the bucket is.
     *
     * @param endpoint URL of the server
     * @param retryTime how long transient errors are tried again, from the first one on; anew when a read has come further
     * @param silence after that much time without a byte from the server a call is given up and tried again
     */
    public record Access(
            String endpoint,
            String region,
            String accessKey,
            String secretKey,
            String bucket,
            Duration retryTime,
            Duration silence) {
        /** With the usual patience. */
        public Access(
                String endpoint, String region, String accessKey, String secretKey, String bucket, Duration retryTime) {
            this(endpoint, region, accessKey, secretKey, bucket, retryTime, Duration.ofSeconds(30));
        }

        /**
         * The longest that one call may take: a server that sends a byte now and then holds nobody for ever. A read that came further meanwhile goes on
         * with another call.
         */
        Duration callTime() {
            return silence.multipliedBy(10);
        }
    }

    private final Access access;
    private final OkHttpClient http;
    private final MinioClient client;
    private final boolean signsItself;
    private final String base;
    private final String host;
    private volatile Boolean locks;

    public S3ObjectStore(Access access) {
        this.access = access;
        Dispatcher dispatcher = new Dispatcher();
        dispatcher.setMaxRequests(64);
        dispatcher.setMaxRequestsPerHost(64);
        http = new OkHttpClient.Builder()
                .connectTimeout(Duration.ofSeconds(5))
                .readTimeout(access.silence())
                .writeTimeout(Duration.ofSeconds(30))
                .callTimeout(access.callTime())
                .protocols(List.of(Protocol.HTTP_1_1))
                .dispatcher(dispatcher)
                .connectionPool(new ConnectionPool(64, 1, TimeUnit.MINUTES))
                .build();
        HttpUrl url = HttpUrl.parse(access.endpoint());
        // Amazon's endpoints take other forms of addresses, which minio-java knows
        signsItself = url != null
                && url.encodedPath().equals("/")
                && !url.host().endsWith("amazonaws.com")
                && !url.host().endsWith("amazonaws.com.cn");
        boolean usual = url != null && url.port() == HttpUrl.defaultPort(url.scheme());
        String name = url == null ? "" : url.host().contains(":") ? "[" + url.host() + "]" : url.host();
        host = usual || url == null ? name : name + ":" + url.port();
        base = url == null ? "" : url.scheme() + "://" + host;
        client = MinioClient.builder()
                .endpoint(access.endpoint())
                .region(access.region())
                .credentials(access.accessKey(), access.secretKey())
                .httpClient(http)
                .build();
    }

    /** A call of the server. */
    private interface Call<T> {
        T call() throws MinioException, IOException, GeneralSecurityException, StorageException;
    }

    @Override
    public void put(String key, byte[] data, int offset, int length) throws StorageException {
        put(key, data, offset, length, ChunkId.of(data, offset, length));
    }

    @Override
    public void put(String key, byte[] data, int offset, int length, ChunkId sha256) throws StorageException {
        retry(key, () -> {
            if (signsItself) {
                send(key, data, offset, length, sha256);
            } else {
                upload(key, data, offset, length, Map.of());
            }
            return null;
        });
    }

    /** A put straight from the array, with the digest that is known; the server checks the content against it. */
    private void send(String key, byte[] data, int offset, int length, ChunkId sha256)
            throws MinioException, IOException {
        execute(
                        key,
                        signed("PUT", key, sha256.hex())
                                .put(RequestBody.create(data, OCTETS, offset, length))
                                .build())
                .close();
    }

    @Override
    public void put(String key, ByteBuffer data) throws StorageException {
        if (data.hasArray()) {
            put(key, data.array(), data.arrayOffset() + data.position(), data.remaining());
            return;
        }
        ChunkId sha256 = ChunkId.of(data);
        retry(key, () -> {
            if (signsItself) {
                execute(
                                key,
                                signed("PUT", key, sha256.hex())
                                        .put(new Pieces(data))
                                        .build())
                        .close();
            } else {
                client.putObject(PutObjectArgs.builder().bucket(access.bucket()).object(key).stream(
                                new Bytes(data.duplicate()), data.remaining(), LARGE_PART)
                        .contentType("application/octet-stream")
                        .build());
            }
            return null;
        });
    }

    /** A body that is not on the heap, sent piece by piece. */
    private static final class Pieces extends RequestBody {
        private final ByteBuffer data;

        Pieces(ByteBuffer data) {
            this.data = data;
        }

        @Override
        public MediaType contentType() {
            return OCTETS;
        }

        @Override
        public long contentLength() {
            return data.remaining();
        }

        @Override
        public void writeTo(BufferedSink sink) throws IOException {
            for (int at = data.position(); at < data.limit(); at += PIECE) {
                sink.write(data.slice(at, Math.min(PIECE, data.limit() - at)));
            }
        }
    }

    /** Reads a buffer. */
    private static final class Bytes extends InputStream {
        private final ByteBuffer data;

        Bytes(ByteBuffer data) {
            this.data = data;
        }

        @Override
        public int read() {
            return data.hasRemaining() ? data.get() & 0xff : -1;
        }

        @Override
        public int read(byte[] into, int offset, int length) {
            int n = Math.min(length, data.remaining());
            data.get(into, offset, n);
            return n == 0 && length > 0 ? -1 : n;
        }
    }

    /** A request about an object, signed by us: with fewer copies than minio-java, and without its reading of headers. */
    private Request.Builder signed(String method, String key, String contentSha256) {
        String path = SignatureV4.path(access.bucket(), key);
        SignatureV4.Signed s = SignatureV4.sign(
                method,
                host,
                path,
                contentSha256,
                access.region(),
                access.accessKey(),
                access.secretKey(),
                Instant.now());
        return new Request.Builder()
                .url(base + path)
                .header("Host", host)
                .header("Accept-Encoding", "identity")
                .header("x-amz-content-sha256", contentSha256)
                .header("x-amz-date", s.date())
                .header("Authorization", s.authorization());
    }

    /** The answer, if it is a good one; close it. */
    private Response execute(String key, Request request) throws MinioException, IOException {
        Response r = http.newCall(request).execute();
        if (r.isSuccessful()) {
            return r;
        }
        try (r) {
            String body = r.peekBody(MAX_ERROR).string();
            String code = r.code() == 404 ? "NoSuchKey" : "Http" + r.code();
            throw new ErrorResponseException(
                    body.isBlank()
                            ? new ErrorResponse(code, r.message(), access.bucket(), key, null, null, null)
                            : Xml.unmarshal(ErrorResponse.class, body),
                    r,
                    "");
        }
    }

    private void upload(String key, byte[] data, int offset, int length, Map<String, String> headers)
            throws MinioException, IOException, GeneralSecurityException {
        client.putObject(PutObjectArgs.builder().bucket(access.bucket()).object(key).stream(
                        new ByteArrayInputStream(data, offset, length), length, Math.max(length, MIN_PART))
                .headers(headers)
                .contentType(contentType(key))
                .build());
    }

    private static String contentType(String key) {
        return key.endsWith(".json") ? "application/json" : "application/octet-stream";
    }

    @Override
    public boolean putIfAbsent(String key, byte[] data) throws StorageException {
        // looked for first, for servers that take the header and ignore it
        if (size(key).isPresent()) {
            return false;
        }
        return retry(key, () -> {
            try {
                sendNew(key, data);
                return true;
            } catch (ErrorResponseException e) {
                int status = e.response().code();
                if (status == 412 || status == 409) {
                    return false;
                }
                if (status == 501) {
                    LOG.warnf("event=no-conditional-put key=%s consequence=\"looked first instead\"", key);
                    upload(key, data, 0, data.length, Map.of());
                    return true;
                }
                throw e;
            }
        });
    }

    /** A put that a server which knows the condition refuses with 412 when there is such an object. */
    private void sendNew(String key, byte[] data) throws MinioException, IOException, GeneralSecurityException {
        if (signsItself) {
            Request.Builder request = signed("PUT", key, ChunkId.of(data).hex()).header("If-None-Match", "*");
            execute(
                            key,
                            request.put(RequestBody.create(data, MediaType.get(contentType(key))))
                                    .build())
                    .close();
        } else {
            upload(key, data, 0, data.length, Map.of("If-None-Match", "*"));
        }
    }

    @Override
    public boolean excludes(String key, byte[] data) throws StorageException {
        return retry(key, () -> {
            try {
                sendNew(key, data);
                sendNew(key, data);
            } catch (ErrorResponseException e) {
                int status = e.response().code();
                if (status == 412 || status == 409) {
                    return true;
                }
                if (status != 501) {
                    throw e;
                }
                upload(key, data, 0, data.length, Map.of());
            }
            LOG.warnf("event=no-conditional-put endpoint=%s", access.endpoint());
            return false;
        });
    }

    @Override
    public byte[] get(String key, long limit) throws StorageException {
        return get(key, (int) Math.min(Integer.MAX_VALUE - 16, limit), Room.HEAP)
                .array();
    }

    @Override
    public ByteBuffer get(String key, int limit, Room room) throws StorageException {
        Whole whole = new Whole(room);
        boolean done = false;
        try {
            retry(
                    key,
                    () -> {
                        if (whole.data == null
                                || whole.data.capacity() <= Room.SMALL) { // what is small may be written anew meanwhile
                            try (Incoming in = open(key, 0, -1)) {
                                whole.begin(key, in.length(), limit);
                                whole.take(in.stream());
                            }
                        } else if (whole.data.hasRemaining()) { // who asked checks the whole by its digest
                            try (Incoming in = open(key, whole.data.position(), whole.data.remaining())) {
                                whole.take(in.stream());
                            }
                        }
                        return null;
                    },
                    whole::reached);
            done = true;
            return whole.data.flip();
        } finally {
            if (!done && whole.data != null) {
                room.free(whole.data);
            }
        }
    }

    /** An object that is read whole, in as many calls as it takes. */
    private static final class Whole {
        private final Room room;
        private ByteBuffer data;

        Whole(Room room) {
            this.room = room;
        }

        void begin(String key, long length, int limit) throws StorageException, IOException {
            if (length > limit) {
                throw tooLarge(key, limit);
            }
            if (length < 0) {
                throw new IOException("the server does not say how long the object is");
            }
            data = room.take((int) length);
        }

        void take(InputStream in) throws IOException {
            byte[] piece = new byte[PIECE];
            while (data.hasRemaining()) {
                int n = in.read(piece, 0, Math.min(piece.length, data.remaining()));
                if (n < 0) {
                    throw new IOException("the connection ended early");
                }
                data.put(piece, 0, n);
            }
            drain(in);
        }

        long reached() {
            return data == null ? 0 : data.position();
        }
    }

    private static StorageException tooLarge(String key, long limit) {
        return StorageException.corrupt(key, "is larger than the limit of " + limit + " bytes");
    }

    /**
     * An object's bytes on their way.
     *
     * @param length what the server says that it sends, -1 if it says nothing
     */
    private record Incoming(InputStream stream, long length) implements AutoCloseable {
        @Override
        public void close() throws IOException {
            stream.close();
        }
    }

    /** Asks for an object, or with a length of 0 or more for a part of it. */
    private Incoming open(String key, long offset, long length)
            throws MinioException, IOException, GeneralSecurityException, StorageException {
        try {
            if (signsItself) {
                Request.Builder request = signed("GET", key, NO_CONTENT);
                if (length >= 0) {
                    request.header("Range", "bytes=" + offset + "-" + (offset + length - 1));
                }
                Response r = execute(key, request.build());
                if (length >= 0 && r.code() != 206) {
                    r.close();
                    throw new InvalidResponseException(r.code(), r.header("Content-Type"), "the range was ignored", "");
                }
                return new Incoming(r.body().byteStream(), r.body().contentLength());
            }
            GetObjectArgs.Builder args = GetObjectArgs.builder();
            if (length >= 0) {
                args.offset(offset).length(length);
            }
            GetObjectResponse r =
                    client.getObject(args.bucket(access.bucket()).object(key).build());
            String told = r.headers().get("Content-Length");
            return new Incoming(r, told == null ? -1 : Long.parseLong(told));
        } catch (ErrorResponseException e) {
            if (absent(e)) {
                throw StorageException.missing(key);
            }
            if (e.response().code() == 416) {
                throw StorageException.corrupt(key, "is shorter than it must be");
            }
            throw e;
        }
    }

    @Override
    public void read(String key, Part part) throws StorageException {
        retry(
                key,
                () -> {
                    long wanted = part.to() - part.from();
                    if (wanted <= 0) {
                        return null;
                    }
                    try (Incoming in = open(key, part.from(), wanted)) {
                        try {
                            part.take(in.stream());
                        } catch (EOFException e) {
                            if (in.length() >= 0 && in.length() < wanted) {
                                throw StorageException.corrupt(key, "is shorter than it must be");
                            }
                            throw e;
                        }
                        drain(in.stream());
                        return null;
                    }
                },
                part::from);
    }

    /** Reads the end of a response, so that its connection is used again. */
    private static void drain(InputStream in) throws IOException {
        if (in.read() >= 0) {
            LOG.debug("event=range-ignored");
        }
    }

    @Override
    public OptionalLong size(String key) throws StorageException {
        return retry(key, () -> {
            try {
                if (signsItself) {
                    try (Response r =
                            execute(key, signed("HEAD", key, NO_CONTENT).head().build())) {
                        return OptionalLong.of(Long.parseLong(r.header("Content-Length", "0")));
                    }
                }
                return OptionalLong.of(client.statObject(StatObjectArgs.builder()
                                .bucket(access.bucket())
                                .object(key)
                                .build())
                        .size());
            } catch (ErrorResponseException e) {
                if (absent(e)) {
                    return OptionalLong.empty();
                }
                throw e;
            }
        });
    }

    /** Whether there is no such object. The answer to a HEAD has no body, and so looks the same when there is no bucket: then it is asked for. */
    private boolean absent(ErrorResponseException e)
            throws MinioException, IOException, GeneralSecurityException, StorageException {
        if (!ABSENT.contains(String.valueOf(e.errorResponse().code()))) {
            return false;
        }
        if (e.response().request().method().equals("HEAD")
                && !client.bucketExists(
                        BucketExistsArgs.builder().bucket(access.bucket()).build())) {
            throw unavailable("bucket " + access.bucket(), "does not exist", bringBack(), null);
        }
        return true;
    }

    @Override
    public List<Stored> list(String prefix) throws StorageException {
        return retry(prefix, () -> {
            List<Stored> list = new ArrayList<>();
            for (Result<Item> r : client.listObjects(ListObjectsArgs.builder()
                    .bucket(access.bucket())
                    .prefix(prefix)
                    .recursive(true)
                    .build())) {
                Item item = r.get();
                if (!item.isDir()) {
                    list.add(new Stored(
                            item.objectName(),
                            item.size(),
                            item.lastModified() == null
                                    ? Instant.EPOCH
                                    : item.lastModified().toInstant()));
                }
            }
            return list;
        });
    }

    @Override
    public void delete(String key) throws StorageException {
        retry(key, () -> {
            client.removeObject(RemoveObjectArgs.builder()
                    .bucket(access.bucket())
                    .object(key)
                    .build());
            return null;
        });
    }

    /**
     * Whether the bucket has Object Lock. Asked first, and once: a server that does not know the requests about retention could
     * take them for the ones about the object itself, and write over it.
     */
    private boolean locks() throws StorageException {
        Boolean known = locks;
        if (known == null) {
            known = retry("bucket " + access.bucket(), () -> {
                try {
                    return unlessLockless(
                            () -> client.getObjectLockConfiguration(GetObjectLockConfigurationArgs.builder()
                                    .bucket(access.bucket())
                                    .build()));
                } catch (XmlParserException e) {
                    return false; // it answered another question
                }
            });
            locks = known;
        }
        return known;
    }

    /** Something about Object Lock. */
    private interface LockCall {
        void call() throws MinioException, IOException, GeneralSecurityException;
    }

    /** False where the server, or the bucket, says that it has no Object Lock. */
    private static boolean unlessLockless(LockCall call) throws MinioException, IOException, GeneralSecurityException {
        try {
            call.call();
            return true;
        } catch (ErrorResponseException e) {
            if (lacksLock(e)) {
                return false;
            }
            throw e;
        }
    }

    @Override
    public boolean lock(String key, Instant until) throws StorageException {
        if (!locks()) {
            return false;
        }
        if (lockedFor(key, until)) {
            return true; // servers refuse to shorten a lock
        }
        boolean done = retry(key, () -> {
            try {
                return unlessLockless(() -> client.setObjectRetention(SetObjectRetentionArgs.builder()
                        .bucket(access.bucket())
                        .object(key)
                        .config(new Retention(RetentionMode.COMPLIANCE, until.atZone(ZoneOffset.UTC)))
                        .build()));
            } catch (ErrorResponseException e) {
                if (ABSENT.contains(String.valueOf(e.errorResponse().code()))) {
                    throw StorageException.missing(key);
                }
                if (e.response().code() < 500 && lockedFor(key, until)) {
                    return true; // by somebody else, meanwhile
                }
                throw e;
            }
        });
        if (!done && size(key).isEmpty()) { // what is deleted is a mark there, which cannot be locked: the same answer
            throw StorageException.missing(key);
        }
        return done;
    }

    private boolean lockedFor(String key, Instant until) throws StorageException {
        return lockedUntil(key).filter(there -> !there.isBefore(until)).isPresent();
    }

    @Override
    public Duration retention() throws StorageException {
        if (!locks()) {
            return Duration.ZERO;
        }
        return retry("bucket " + access.bucket(), () -> {
            var config = client.getObjectLockConfiguration(GetObjectLockConfigurationArgs.builder()
                    .bucket(access.bucket())
                    .build());
            if (config.mode() == null || config.duration() == null) {
                return Duration.ZERO;
            }
            boolean days = config.duration().unit() == RetentionDurationUnit.DAYS;
            return Duration.ofDays(config.duration().duration() * (days ? 1L : 365L));
        });
    }

    @Override
    public Instant time(String key) throws StorageException {
        return retry(key, () -> {
            if (signsItself) {
                try (Response r =
                        execute(key, signed("HEAD", key, NO_CONTENT).head().build())) {
                    return date(r.header("Date"));
                }
            }
            return date(client.statObject(StatObjectArgs.builder()
                            .bucket(access.bucket())
                            .object(key)
                            .build())
                    .headers()
                    .get("Date"));
        });
    }

    private static Instant date(String header) {
        if (header == null) {
            throw new DateTimeException("it tells no date");
        }
        return DateTimeFormatter.RFC_1123_DATE_TIME.parse(header, Instant::from);
    }

    @Override
    public Optional<Instant> lockedUntil(String key) throws StorageException {
        if (!locks()) {
            return Optional.empty();
        }
        return retry(key, () -> {
            try {
                if (signsItself) { // Ceph gives the time with nine digits of a second, which minio-java cannot read
                    try (Response r =
                            execute(key, signed("HEAD", key, NO_CONTENT).head().build())) {
                        return Optional.ofNullable(r.header("x-amz-object-lock-retain-until-date"))
                                .map(Instant::parse);
                    }
                }
                Retention r = client.getObjectRetention(GetObjectRetentionArgs.builder()
                        .bucket(access.bucket())
                        .object(key)
                        .build());
                return r == null || r.retainUntilDate() == null
                        ? Optional.empty()
                        : Optional.of(r.retainUntilDate().toInstant());
            } catch (ErrorResponseException e) {
                String code = String.valueOf(e.errorResponse().code());
                if (lacksLock(e) || absent(e) || code.equals("NoSuchObjectLockConfiguration")) {
                    return Optional.empty();
                }
                throw e;
            }
        });
    }

    /** Whether the server says that it, or the bucket, has no Object Lock; each says it in its own way. */
    private static boolean lacksLock(ErrorResponseException e) {
        int status = e.response().code();
        String code = String.valueOf(e.errorResponse().code());
        return status == 501
                || status == 405
                || NO_LOCK.contains(code)
                || (status == 400 && String.valueOf(e.errorResponse().message()).contains("Object Lock"));
    }

    /**
     * Looks whether the bucket answers, once, without trying again.
     *
     * @param create make it if it is missing
     * @throws StorageException REPOSITORY_UNAVAILABLE, saying why
     */
    public void check(boolean create) throws StorageException {
        String bucket = access.bucket();
        try {
            if (client.bucketExists(BucketExistsArgs.builder().bucket(bucket).build())) {
                return;
            }
            if (!create) {
                throw unavailable("bucket " + bucket, "does not exist", bringBack(), null);
            }
            client.makeBucket(MakeBucketArgs.builder()
                    .bucket(bucket)
                    .region(access.region())
                    .build());
            LOG.infof("event=bucket-made bucket=%s", bucket);
        } catch (ErrorResponseException e) {
            String code = e.errorResponse().code();
            if (code.equals("BucketAlreadyOwnedByYou") || code.equals("BucketAlreadyExists")) {
                return;
            }
            throw refused("bucket " + bucket, e);
        } catch (IllegalArgumentException e) {
            throw unavailable("bucket " + bucket, reason(e), "use a name that S3 allows", e);
        } catch (MinioException | IOException | GeneralSecurityException e) {
            throw unavailable("bucket " + bucket, reason(e), "look whether " + access.endpoint() + " is up", e);
        }
    }

    private <T> T retry(String key, Call<T> call) throws StorageException {
        return retry(key, call, () -> 0);
    }

    /**
     * Tries a call again and again for a while, which begins with its first failure, and anew with one that came further.
     *
     * @param reached how far it came, in bytes; a few are not counted, so that no server holds somebody for ever
     */
    private <T> T retry(String key, Call<T> call, LongSupplier reached) throws StorageException {
        long deadline = 0;
        long pause = 0;
        long before = reached.getAsLong();
        for (int attempt = 1; ; attempt++) {
            Exception failed;
            try {
                return call.call();
            } catch (ErrorResponseException e) {
                int status = e.response().code();
                String code = String.valueOf(e.errorResponse().code());
                if (status == INSUFFICIENT_STORAGE
                        || FULL.contains(code)
                        || (status < 500 && status != 429 && !TRANSIENT.contains(code))) {
                    throw refused("object " + key, e);
                }
                failed = e;
            } catch (ServerException
                    | InvalidResponseException
                    | InsufficientDataException
                    | InternalException
                    | XmlParserException
                    | IOException e) {
                failed = e;
            } catch (MinioException | GeneralSecurityException | IllegalArgumentException e) {
                throw unavailable("object " + key, reason(e), "look at the configuration of the bucket", e);
            } catch (DateTimeException e) { // minio-java reads every date in one form only
                throw unavailable("object " + key, reason(e), "the server's answer is not understood: report it", e);
            }
            long now = System.nanoTime();
            if (pause == 0 || reached.getAsLong() - before >= PIECE) {
                deadline = now + access.retryTime().toNanos();
                pause = 100;
                before = reached.getAsLong();
            }
            long left = deadline - now;
            if (left <= 0) {
                throw unavailable(
                        "object " + key,
                        reason(failed) + ", tried " + attempt + " times",
                        "look whether " + access.endpoint() + " is up",
                        failed);
            }
            LOG.debugf("event=s3-retry key=%s attempt=%d reason=\"%s\"", key, attempt, reason(failed));
            try {
                long jitter = ThreadLocalRandom.current().nextLong(pause / 2 + 1);
                Thread.sleep(Math.min(pause / 2 + jitter, left / 1_000_000 + 1));
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new StorageException(
                        ErrorCode.INTERRUPTED, "object " + key + ": the service is ending", "try again", e);
            }
            pause = Math.min(pause * 2, 5000);
        }
    }

    private StorageException refused(String object, ErrorResponseException e) {
        String code = String.valueOf(e.errorResponse().code());
        int status = e.response().code();
        if (status == INSUFFICIENT_STORAGE || FULL.contains(code)) {
            return new StorageException(
                    ErrorCode.REPOSITORY_FULL,
                    object + ": the bucket is full: status " + status + " " + code,
                    "make room in bucket " + access.bucket()
                            + " or raise its quota, then try again: what was uploaded is used",
                    e);
        }
        String remedy =
                switch (code) {
                    case "NoSuchBucket" -> bringBack();
                    case "RequestTimeTooSkewed" -> "set this host's clock";
                    default ->
                        status == 403 || status == 401
                                ? "check access-key, secret-key and the rights on bucket " + access.bucket()
                                : "look at the S3 server's log";
                };
        return unavailable(
                object,
                "refused with status " + status + " " + code + " "
                        + e.errorResponse().message(),
                remedy,
                e);
    }

    private String bringBack() {
        return "bring bucket " + access.bucket()
                + " back, with what it held; a new one: make it, or allow create-bucket and start the storage services again";
    }

    private static StorageException unavailable(String object, String what, String remedy, Throwable cause) {
        return new StorageException(ErrorCode.REPOSITORY_UNAVAILABLE, object + ": " + what, remedy, cause);
    }

    private static String reason(Exception e) {
        return e.getClass().getSimpleName() + (e.getMessage() == null ? "" : " " + e.getMessage());
    }

    @Override
    public void close() {
        http.dispatcher().executorService().shutdown();
        http.connectionPool().evictAll();
    }
}
