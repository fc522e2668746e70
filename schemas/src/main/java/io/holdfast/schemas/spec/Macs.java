package io.holdfast.schemas.spec;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;

/** MAC addresses of NICs. */
final class Macs {
    private static final Pattern MAC = Pattern.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}");
    private static final HexFormat COLONS = HexFormat.ofDelimiter(":");

    private Macs() {}

    /** The address in lower case, or null if it is none. */
    static String normal(String text) {
        String lower = text.toLowerCase(Locale.ROOT);
        return MAC.matcher(lower).matches() ? lower : null;
    }

    /** Whether a lower-case address is that of one station. */
    static boolean isUnicast(String mac) {
        return (Integer.parseInt(mac.substring(0, 2), 16) & 1) == 0 && !mac.equals("00:00:00:00:00:00");
    }

    /**
     * A locally administered address that is always the same for the same names: 52:54:00 and three bytes of a hash.
     *
     * @param taken addresses that it may not be
     */
    static String derive(String network, String vm, int nic, Set<String> taken) {
        for (int attempt = 0; ; attempt++) {
            byte[] hash = sha256(network + "\n" + vm + "\n" + nic + (attempt == 0 ? "" : "\n" + attempt));
            String mac = "52:54:00:" + COLONS.formatHex(hash, 0, 3);
            if (!taken.contains(mac)) {
                return mac;
            }
        }
    }

    private static byte[] sha256(String text) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
