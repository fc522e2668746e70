package io.holdfast.schemas.spec;

import java.util.regex.Pattern;

/**
 * Names of networks, instances, VMs, segments, hosts, checkpoints and operations: DNS labels of at most 40 characters.
 * A name that passes is safe in paths, interface names' comments, S3 keys and command words.
 */
public final class Names {
    /** What a name looks like. */
    public static final String PATTERN = "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?";

    private static final Pattern NAME = Pattern.compile(PATTERN);

    private Names() {}

    /** Whether the text is a name; false for null. */
    public static boolean isName(String text) {
        return text != null && NAME.matcher(text).matches();
    }

    /**
     * The text itself when it is a name.
     *
     * @param what what it names, for the message: {@code instance}, {@code host}
     * @throws IllegalArgumentException if it is none
     */
    public static String check(String what, String text) {
        if (!isName(text)) {
            throw new IllegalArgumentException("not a name for a " + what + ": " + quote(text)
                    + " (1 to 40 lower-case letters, digits and inner hyphens)");
        }
        return text;
    }

    /** The text in quotes, short and printable, for messages about input that nobody has checked. */
    public static String quote(String text) {
        if (text == null) {
            return "null";
        }
        String shown = text.codePoints()
                .limit(60)
                .map(c -> Character.isISOControl(c) ? '?' : c)
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                .toString();
        return "'" + shown + (shown.length() < text.length() ? "..." : "") + "'";
    }
}
