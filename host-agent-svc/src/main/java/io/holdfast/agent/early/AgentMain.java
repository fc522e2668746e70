package io.holdfast.agent.early;

import io.holdfast.agent.config.Faults;
import io.holdfast.agent.domain.FaultPoint;
import io.holdfast.agent.domain.FaultPoints;
import io.quarkus.runtime.Quarkus;
import io.quarkus.runtime.annotations.QuarkusMain;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import org.jboss.logging.Logger;

/** The agent's main program: first VMs that stand, then everything else. */
@QuarkusMain
public final class AgentMain {
    private static final Duration PATIENCE = Duration.ofSeconds(1);
    private static final Duration LIMIT = Duration.ofSeconds(5);

    private AgentMain() {}

    /** Runs until the process is asked to end. */
    public static void main(String... args) throws IOException {
        // Quarkus does so too, but it is not loaded yet.
        System.setProperty("java.util.logging.manager", "org.jboss.logmanager.LogManager");
        Path state = Path.of(setting("holdfast.agent.state-dir", "/var/lib/holdfast/agent"));
        if (Boolean.parseBoolean(setting("holdfast.agent.fault-injection", "false"))) {
            FaultPoints faults = Faults.early(state);
            faults.look();
            faults.reachIo(FaultPoint.TAKEOVER_BEGUN);
        }
        List<Rescue.Answer> answers = new Rescue(state, PATIENCE, LIMIT).run();
        if (!answers.isEmpty()) {
            log(answers);
        }
        Quarkus.run(args);
    }

    /** Only now, for loading the log manager takes its time. */
    private static void log(List<Rescue.Answer> answers) {
        Logger log = Logger.getLogger(Rescue.class);
        long millis = ProcessHandle.current()
                .info()
                .startInstant()
                .map(start -> Duration.between(start, java.time.Instant.now()).toMillis())
                .orElse(-1L);
        for (Rescue.Answer a : answers) {
            log.logf(
                    a.ranAgain() ? Logger.Level.WARN : Logger.Level.INFO,
                    "event=vm-looked-at instance=%s vm=%s status=%s result=\"%s\" process-millis=%d",
                    a.instance(),
                    a.vm(),
                    a.status(),
                    a.result(),
                    millis);
        }
    }

    /**
     * A setting as Quarkus would read it from its usual places: system property, environment, {@code config/application.properties}. Set
     * anywhere else it is not seen here, and VMs run again only with the takeover.
     */
    static String setting(String name, String otherwise) throws IOException {
        String value = System.getProperty(name);
        if (value == null) {
            value = System.getenv(name.replaceAll("[^A-Za-z0-9]", "_").toUpperCase(Locale.ROOT));
        }
        Path file = Path.of("config", "application.properties");
        if (value == null && Files.isReadable(file)) {
            Properties all = new Properties();
            try (InputStream in = Files.newInputStream(file)) {
                all.load(in);
            }
            value = all.getProperty(name);
        }
        return value == null || value.isBlank() ? otherwise : value.strip();
    }
}
