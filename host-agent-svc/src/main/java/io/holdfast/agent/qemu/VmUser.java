package io.holdfast.agent.qemu;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.util.EnumSet;
import java.util.List;
import org.jboss.logging.Logger;

/**
 * The unprivileged user that QEMU runs as.
 *
 * @param name its name
 * @param uid its id, or -1: QEMU runs as the agent does
 * @param gid its group
 * @param groupName the group's name
 */
record VmUser(String name, int uid, int gid, String groupName) {
    private static final Logger LOG = Logger.getLogger(VmUser.class);
    private static final VmUser NONE = new VmUser("", -1, -1, "");

    boolean present() {
        return uid >= 0;
    }

    /** Looks the user up; without it, or when the agent is not root, QEMU runs as the agent does, and the log says so. */
    static VmUser find(String name) {
        try {
            if (name.isEmpty() || (Integer) Files.getAttribute(Path.of("/proc/self"), "unix:uid") != 0) {
                LOG.infof("event=vm-user user=- reason=\"the agent is not root, or no user is configured\"");
                return NONE;
            }
            List<String> user = getent("passwd", name);
            if (user.size() < 4) {
                LOG.warnf("event=vm-user user=root reason=\"user %s does not exist, QEMU runs as root\"", name);
                return NONE;
            }
            List<String> group = getent("group", user.get(3));
            var found = new VmUser(
                    name,
                    Integer.parseInt(user.get(2)),
                    Integer.parseInt(user.get(3)),
                    group.isEmpty() ? name : group.get(0));
            found.allow(Path.of("/dev/userfaultfd"));
            found.allow(Path.of("/dev/kvm"));
            LOG.infof("event=vm-user user=%s uid=%d gid=%d", name, found.uid, found.gid);
            return found;
        } catch (IOException e) {
            LOG.warnf("event=vm-user user=root reason=\"%s\"", e.getMessage());
            return NONE;
        }
    }

    private static List<String> getent(String database, String key) throws IOException {
        Process p = new ProcessBuilder("getent", database, key)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        return out.isEmpty() ? List.of() : List.of(out.split(":", -1));
    }

    /** Gives the group access to a device that QEMU needs. */
    private void allow(Path device) {
        try {
            if (!Files.exists(device)) {
                return;
            }
            var view = Files.getFileAttributeView(device, PosixFileAttributeView.class);
            PosixFileAttributes now = view.readAttributes();
            var others = EnumSet.of(PosixFilePermission.OTHERS_READ, PosixFilePermission.OTHERS_WRITE);
            var ours = EnumSet.of(PosixFilePermission.GROUP_READ, PosixFilePermission.GROUP_WRITE);
            if (now.permissions().containsAll(others)
                    || (now.group().getName().equals(groupName)
                            && now.permissions().containsAll(ours))) {
                return;
            }
            if (!now.group().getName().equals("root") && !now.group().getName().equals(groupName)) {
                LOG.warnf(
                        "event=device-access device=%s group=%s remedy=\"make user %s a member of that group\"",
                        device, now.group().getName(), name);
                return;
            }
            view.setGroup(device.getFileSystem().getUserPrincipalLookupService().lookupPrincipalByGroupName(groupName));
            var permissions = EnumSet.copyOf(now.permissions());
            permissions.addAll(ours);
            view.setPermissions(permissions);
            LOG.infof("event=device-access device=%s group=%s", device, groupName);
        } catch (IOException e) {
            LOG.warnf("event=device-access device=%s reason=%s", device, e.getMessage());
        }
    }

    /** Makes the user the owner. */
    void own(Path file) throws IOException {
        if (present()) {
            var lookup = file.getFileSystem().getUserPrincipalLookupService();
            var view = Files.getFileAttributeView(file, PosixFileAttributeView.class);
            view.setOwner(lookup.lookupPrincipalByName(name));
            view.setGroup(lookup.lookupPrincipalByGroupName(groupName));
        }
    }
}
