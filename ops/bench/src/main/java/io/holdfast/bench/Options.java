package io.holdfast.bench;

import java.util.Map;
import java.util.TreeMap;

/** Options of a bench: {@code --NAME VALUE} pairs. */
final class Options {
    private final Map<String, String> given;

    private Options(Map<String, String> given) {
        this.given = given;
    }

    /** Wrong usage, with what to do about it. */
    static final class Usage extends RuntimeException {
        private static final long serialVersionUID = 1;

        Usage(String message) {
            super(message);
        }
    }

    /** All arguments after the bench's name. */
    static Options parse(String[] args) {
        Map<String, String> given = new TreeMap<>();
        for (int i = 1; i < args.length; i += 2) {
            if (!args[i].startsWith("--") || i + 1 == args.length) {
                throw new Usage("bench " + args[0] + ": options are --NAME VALUE, not " + args[i]);
            }
            given.put(args[i], args[i + 1]);
        }
        return new Options(given);
    }

    String text(String name, String otherwise) {
        return given.getOrDefault(name, otherwise);
    }

    int number(String name, int otherwise) {
        String value = given.get(name);
        try {
            return value == null ? otherwise : Integer.parseInt(value);
        } catch (NumberFormatException e) {
            throw new Usage(name + " is to be a number, not " + value);
        }
    }
}
