package io.holdfast.nat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.function.ToIntFunction;
import jnr.ffi.LibraryLoader;

/** What this module has built, for those who call or run it: libholdfast and programs. Thread-safe. */
public final class NativeFiles {
    private static final int ABI = 1;
    private static final String RESOURCES = "/META-INF/native/linux-x86_64/";
    private static final String LIBRARY = "libholdfast.so";

    private NativeFiles() {}

    /** Something that uses a file. */
    public interface Use<T> {
        T of(Path file) throws IOException;
    }

    /**
     * Loads libholdfast.
     *
     * @param functions an interface with some of the functions of {@code native/src/holdfast.h}
     * @param abi calls {@code hf_abi}
     * @throws UnsatisfiedLinkError if it cannot be loaded, saying why
     */
    public static <L> L load(Class<L> functions, ToIntFunction<L> abi) {
        var arch = System.getProperty("os.arch");
        if (!"Linux".equals(System.getProperty("os.name")) || !("amd64".equals(arch) || "x86_64".equals(arch))) {
            throw new UnsatisfiedLinkError("libholdfast is built for linux-x86_64 only, this is "
                    + System.getProperty("os.name") + " " + arch);
        }
        try {
            return unpacked(LIBRARY, "rwx------", file -> {
                L lib = LibraryLoader.create(functions).failImmediately().load(file.toString());
                if (abi.applyAsInt(lib) != ABI) {
                    throw new UnsatisfiedLinkError("libholdfast has ABI " + abi.applyAsInt(lib) + ", not " + ABI);
                }
                return lib;
            });
        } catch (IOException e) {
            var x = new UnsatisfiedLinkError("cannot unpack " + LIBRARY + ": " + e.getMessage());
            x.initCause(e);
            throw x;
        }
    }

    /**
     * Lets something use a file of this module, which is there only meanwhile, in a folder that only we can write to. Others may run
     * it, if they may enter the folder, but not read it: so the kernel lets nobody trace the process (it is not dumpable).
     *
     * @param rights of the folder, such as {@code rwx--x--x}
     */
    public static <T> T unpacked(String name, String rights, Use<T> use) throws IOException {
        try (InputStream in = NativeFiles.class.getResourceAsStream(RESOURCES + name)) {
            if (in == null) {
                throw new IOException(RESOURCES + name + " is not on the class path (artifact holdfast-native)");
            }
            Path folder = Files.createTempDirectory("holdfast-native");
            Path file = folder.resolve(name);
            try {
                Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(rights));
                Files.copy(in, file);
                Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwx--x--x"));
                return use.of(file);
            } finally {
                Files.deleteIfExists(file);
                Files.deleteIfExists(folder);
            }
        }
    }
}
