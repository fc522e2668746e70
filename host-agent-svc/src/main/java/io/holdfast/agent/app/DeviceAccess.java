package io.holdfast.agent.app;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.GroupPrincipal;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jboss.logging.Logger;

/**
 * Lets the unprivileged user of QEMU use {@code /dev/kvm} and {@code /dev/userfaultfd}: gives their group to the user's
 * group where it is root's. A device that another group has already been given is left alone, and that is said.
 */
public final class DeviceAccess {
    /** The user that QEMU runs as, when it exists. */
    public static final String USER = "holdfast-vm";

    private static final Logger LOG = Logger.getLogger(DeviceAccess.class);

    private DeviceAccess() {}

    /** Gives access. Never throws: what fails is said in the log, and QEMU will say it again. */
    public static void give(List<Path> devices, Path passwd, Path groups) {
        try {
            Optional<String> gid = Files.readAllLines(passwd).stream()
                    .map(l -> l.split(":", -1))
                    .filter(f -> f.length > 3 && f[0].equals(USER))
                    .map(f -> f[3])
                    .findFirst();
            if (gid.isEmpty()) {
                LOG.infof("event=no-vm-user user=%s msg=\"QEMU runs as this agent's user\"", USER);
                return;
            }
            String group = Files.readAllLines(groups).stream()
                    .map(l -> l.split(":", -1))
                    .filter(f -> f.length > 2 && f[2].equals(gid.get()))
                    .map(f -> f[0])
                    .findFirst()
                    .orElseThrow(() -> new IOException("no group " + gid.get()));
            for (Path device : devices) {
                give(device, group);
            }
        } catch (IOException | RuntimeException e) {
            LOG.warnf(e, "event=device-access-failed user=%s", USER);
        }
    }

    private static void give(Path device, String group) throws IOException {
        if (!Files.exists(device)) {
            LOG.infof("event=device-absent device=%s", device);
            return;
        }
        PosixFileAttributeView view =
                Files.getFileAttributeView(device, PosixFileAttributeView.class, LinkOption.NOFOLLOW_LINKS);
        PosixFileAttributes now = view.readAttributes();
        Set<PosixFilePermission> mode = EnumSet.copyOf(now.permissions());
        boolean everyone =
                mode.contains(PosixFilePermission.OTHERS_READ) && mode.contains(PosixFilePermission.OTHERS_WRITE);
        if (everyone) {
            return;
        }
        boolean ours = now.group().getName().equals(group);
        if (!ours && !now.group().getName().equals("root")) {
            LOG.infof(
                    "event=device-of-other-group device=%s group=%s msg=\"user %s must be a member\"",
                    device, now.group().getName(), USER);
            return;
        }
        if (!ours) {
            GroupPrincipal principal =
                    device.getFileSystem().getUserPrincipalLookupService().lookupPrincipalByGroupName(group);
            view.setGroup(principal);
        }
        if (mode.addAll(EnumSet.of(PosixFilePermission.GROUP_READ, PosixFilePermission.GROUP_WRITE))) {
            view.setPermissions(mode);
        }
        LOG.infof("event=device-access-given device=%s group=%s user=%s", device, group, USER);
    }
}
