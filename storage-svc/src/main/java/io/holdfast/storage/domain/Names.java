package io.holdfast.storage.domain;

import io.holdfast.schemas.event.ErrorCode;
import java.util.regex.Pattern;

/** Which names may become part of a path or a key: the common rule of names, and one for files of images. */
public final class Names {
    private static final Pattern FILE = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}");
    /** The mark that the storage service leaves in an image folder once the checkpoint exists. Never archived. */
    public static final String ARCHIVED = "archived";

    private Names() {}

    /** Whether it is a name of an instance, VM, host or checkpoint. */
    public static boolean valid(String name) {
        return io.holdfast.schemas.spec.Names.isName(name);
    }

    /** Whether it may be a file of an image. */
    public static boolean validFile(String name) {
        return name != null && FILE.matcher(name).matches() && !name.equals(ARCHIVED);
    }

    /**
     * The name itself.
     *
     * @throws StorageException INVALID_EVENT if it is none
     */
    public static String require(String what, String name) throws StorageException {
        if (!valid(name)) {
            throw new StorageException(
                    ErrorCode.INVALID_EVENT,
                    "not a name of a " + what + ": " + printable(name),
                    "names are 1 to 40 of a-z, 0-9 and '-', with neither end a '-'");
        }
        return name;
    }

    /** Hostile text made fit for a message. */
    static String printable(String s) {
        if (s == null) {
            return "null";
        }
        String cut = s.length() > 60 ? s.substring(0, 60) + "..." : s;
        return '"' + cut.replaceAll("[^ -~]", "?") + '"';
    }
}
