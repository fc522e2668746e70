package io.holdfast.schemas.spec;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes as people write them: a whole number and one of the units KiB, MiB, GiB, TiB. */
public final class Sizes {
    private static final Pattern SIZE = Pattern.compile("([1-9][0-9]{0,9})(KiB|MiB|GiB|TiB)");

    private Sizes() {}

    /**
     * The size in bytes.
     *
     * @throws IllegalArgumentException if the text is not a size
     */
    public static long parse(String text) {
        Matcher m = SIZE.matcher(text == null ? "" : text);
        if (!m.matches()) {
            throw new IllegalArgumentException("not a size: '" + text + "' (write 256MiB or 4GiB)");
        }
        int shift =
                switch (m.group(2)) {
                    case "KiB" -> 10;
                    case "MiB" -> 20;
                    case "GiB" -> 30;
                    default -> 40;
                };
        long number = Long.parseLong(m.group(1));
        if (number > Long.MAX_VALUE >> shift) {
            throw new IllegalArgumentException("size too large: '" + text + "'");
        }
        return number << shift;
    }
}
