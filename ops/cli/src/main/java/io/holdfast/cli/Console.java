package io.holdfast.cli;

import io.holdfast.schemas.view.InstanceView;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** Prints a VM's serial console from the dev stack's folder: it reads the host's file, so the host must be this machine. */
@Command(
        name = "console",
        description = {
            "Prints the serial console of a VM, read-only.",
            "It reads the host's console.log, so it works on the machine of the dev stack only; elsewhere look at"
                    + " STATE-DIR/instances/INSTANCE/vms/VM/console.log on the VM's host. After a restore the log begins anew."
        },
        mixinStandardHelpOptions = true)
final class Console implements Callable<Integer> {
    private static final long LOOK_EVERY_MILLIS = 200;

    @ParentCommand
    private Main main;

    @Parameters(paramLabel = "INSTANCE", index = "0")
    private String instance;

    @Parameters(paramLabel = "VM", index = "1")
    private String vm;

    @Option(
            names = {"-f", "--follow"},
            description = "Go on printing what comes, until the VM's folder is gone or Ctrl-C.")
    private boolean follow;

    @Option(
            names = {"-n", "--lines"},
            paramLabel = "N",
            description = "Only the last N lines (default: all).")
    private Integer lines;

    @Override
    public Integer call() throws IOException {
        InstanceView view =
                main.api().instance(instance).orElseThrow(() -> Commands.notFound("instance", instance, "list"));
        InstanceView.VmView at = view.vms().stream()
                .filter(v -> v.vm().equals(vm))
                .findFirst()
                .orElseThrow(() -> Commands.notFound("VM", vm, "show " + instance));
        Path log = DevStackFiles.consoleLog(at.host(), instance, vm)
                .orElseThrow(() -> new ApiException(
                        ApiException.Kind.NOT_FOUND,
                        "the console of " + vm + " is on host " + at.host()
                                + ", whose files are not on this machine (or console is off in the spec)\n"
                                + "  -> on that host: tail -f STATE-DIR/instances/" + instance + "/vms/" + vm
                                + "/console.log"));
        try (FileChannel in = FileChannel.open(log)) {
            in.position(lines == null ? 0 : tail(in, lines));
            ByteBuffer buffer = ByteBuffer.allocate(65536);
            while (true) {
                buffer.clear();
                int n = in.read(buffer);
                if (n > 0) {
                    main.out().write(buffer.array(), 0, plain(buffer.array(), n));
                    main.out().flush();
                } else if (!follow || !Files.exists(log)) {
                    return 0;
                } else {
                    Thread.sleep(LOOK_EVERY_MILLIS);
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return 0;
        }
    }

    /** Takes out, in place, what would steer the terminal, such as ESC: a guest may print anything. Returns what is left. */
    private static int plain(byte[] text, int length) {
        int n = 0;
        for (int i = 0; i < length; i++) {
            int c = text[i] & 0xff;
            if (c == '\n' || c == '\t' || (c >= ' ' && c != 0x7f)) {
                text[n++] = text[i];
            }
        }
        return n;
    }

    /** Where the last lines begin. */
    private static long tail(FileChannel in, int lines) throws IOException {
        long at = in.size();
        int seen = 0;
        ByteBuffer one = ByteBuffer.allocate(1);
        while (at > 0) {
            one.clear();
            in.read(one, at - 1);
            if (one.get(0) == '\n' && at < in.size() && ++seen >= lines) {
                return at;
            }
            at--;
        }
        return 0;
    }
}
