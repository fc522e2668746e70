package io.holdfast.agent.app;

import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.Pace;
import io.holdfast.schemas.event.Report;
import java.io.IOException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.jboss.logging.Logger;

/** Reports of one command at work: stored in the journal, then sent. */
final class Reporter {
    private static final Logger LOG = Logger.getLogger(Reporter.class);
    private final CommandJournal journal;
    private final Outbox outbox;
    private final Command command;
    private final String traceparent;
    private final AtomicInteger sequence = new AtomicInteger();
    private final Map<String, Pace> paces = new ConcurrentHashMap<>();
    private volatile boolean muted;

    Reporter(CommandJournal journal, Outbox outbox, Command command, String traceparent) {
        this.journal = journal;
        this.outbox = outbox;
        this.command = command;
        this.traceparent = traceparent;
    }

    Report.Header header(String phase, String state) {
        return Report.Header.of(command.header(), phase, state);
    }

    /** Header of a report that says done in the command's own phase. */
    Report.Header done() {
        return header(command.header().phase(), "done");
    }

    /** From now on nothing is stored or sent: the agent stops, and its next start answers. */
    void mute() {
        muted = true;
    }

    /** A report after which another one comes. */
    void first(Report report) {
        send(report, false);
    }

    /** The command's last report. */
    void last(Report report) {
        send(report, true);
    }

    private void send(Report report, boolean last) {
        if (muted) {
            return;
        }
        try {
            journal.report(command.header().id(), report, last);
        } catch (IOException | RuntimeException e) {
            // The coordinator must hear of it all the same; a repeat of the command will not be answered.
            LOG.errorf(
                    e,
                    "%s event=report-not-stored report=%s",
                    Op.of(command),
                    report.header().id());
        }
        outbox.report(report, traceparent);
    }

    /** Tells how far the command is; not stored. */
    void progress(String phase, long done, long total, String unit) {
        if (muted) {
            return;
        }
        Command.Header h = command.header();
        outbox.report(
                Report.Progress.of(
                        new Report.Header(
                                h.operation(),
                                h.instance(),
                                h.host(),
                                phase,
                                h.attempt(),
                                h.epoch(),
                                "progress",
                                sequence.incrementAndGet()),
                        done,
                        total,
                        unit,
                        paces.computeIfAbsent(phase, p -> new Pace())),
                traceparent);
    }
}
