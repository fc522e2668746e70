package io.holdfast.agent.net;

import java.util.regex.Pattern;

/** Checks of everything that becomes a word of a command or part of a path. */
final class Names {
    private static final Pattern ADDRESS = Pattern.compile("[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-f:]{2,39}");
    private static final Pattern PREFIX = Pattern.compile("[a-z0-9-]{1,30}");

    private Names() {}

    static String name(String s) {
        return io.holdfast.schemas.spec.Names.check("host or instance", s);
    }

    static String address(String s) {
        return match(ADDRESS, s, "address");
    }

    static String prefix(String s) {
        return match(PREFIX, s, "namespace prefix");
    }

    private static String match(Pattern p, String s, String what) {
        if (s == null || !p.matcher(s).matches()) {
            throw new IllegalArgumentException("not a valid " + what + ": " + s);
        }
        return s;
    }
}
