package io.holdfast.devstack.s3;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.gaul.s3proxy.BlobStores;
import org.gaul.s3proxy.S3Proxy;

/**
 * An S3 server over a folder (S3Proxy, filesystem-nio2), for the dev stack and the tests.
 *
 * <p>Usage: {@code S3ServerMain --host ADDRESS --port PORT --data FOLDER --access-key ID --secret-key SECRET [--bucket
 * NAME] [--parent PID]}. It prints one line {@code READY s3 http://ADDRESS:PORT} on standard output once it takes
 * requests. SIGTERM ends it. With {@code --parent} it also ends when that process does. A bucket is a sub-folder;
 * {@code --bucket} makes one.
 */
public final class S3ServerMain {
    private S3ServerMain() {}

    /** Starts the server; its threads keep the process alive. */
    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i < args.length; i += 2) {
            if (i + 1 == args.length || !args[i].startsWith("--")) {
                throw new IllegalArgumentException("expected --name value, found " + args[i]);
            }
            options.put(args[i].substring(2), args[i + 1]);
        }
        String endpoint = "http://" + options.getOrDefault("host", "127.0.0.1") + ":" + required(options, "port");
        Path data = Path.of(required(options, "data")).toAbsolutePath();
        Files.createDirectories(data);
        if (options.containsKey("bucket")) {
            createBucket(data.resolve(options.get("bucket")));
        }

        Properties p = new Properties();
        p.put("s3proxy.endpoint", endpoint);
        p.put("s3proxy.authorization", "aws-v2-or-v4");
        p.put("s3proxy.identity", required(options, "access-key"));
        p.put("s3proxy.credential", required(options, "secret-key"));
        p.put("jclouds.provider", "filesystem-nio2");
        p.put("jclouds.filesystem.basedir", data.toString());
        S3Proxy server = S3Proxy.Builder.fromProperties(p)
                .blobStore(BlobStores.create("filesystem-nio2", p))
                .v4MaxNonChunkedRequestSize(1L << 30)
                .maximumTimeSkew(15 * 60)
                .metricsEnabled(false)
                .build();
        server.start();
        String parent = options.get("parent");
        if (parent != null) {
            exitWith(Long.parseLong(parent));
        }
        System.out.println("READY s3 " + endpoint);
    }

    /** S3Proxy takes a folder that others may read for a public bucket: ours is private. */
    private static void createBucket(Path bucket) throws IOException {
        if (!Files.exists(bucket)) {
            Files.createDirectory(
                    bucket, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        }
    }

    /** Ends this process when the given one has ended: a killed test leaves no server behind. */
    private static void exitWith(long pid) {
        Thread watch = new Thread(
                () -> {
                    ProcessHandle.of(pid).ifPresent(parent -> parent.onExit().join());
                    System.exit(0);
                },
                "parent-watch");
        watch.setDaemon(true);
        watch.start();
    }

    private static String required(Map<String, String> options, String name) {
        String value = options.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }
}
