package io.holdfast.coordinator.domain;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.holdfast.coordinator.domain.OperationState.Active;
import io.holdfast.coordinator.domain.OperationState.Ended;
import io.holdfast.schemas.event.Command;
import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.EventCodec;
import io.holdfast.schemas.event.Heartbeat;
import io.holdfast.schemas.event.InstanceLayout;
import io.holdfast.schemas.event.OperationKind;
import io.holdfast.schemas.event.PublicEvent;
import io.holdfast.schemas.event.Report;
import io.holdfast.schemas.event.VmState;
import io.holdfast.schemas.view.CheckpointView;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;

/**
 * A simulated world around the decisions: hosts, a broker and time, driven by a seed. Commands and reports are repeated,
 * delayed and reordered across hosts, heartbeats get lost, hosts refuse, fall silent or lose VMs, and the coordinator
 * crashes between any two of its writes and starts again from its journal. Every effect is held against the promises.
 */
final class World {
    /** The decisions under test. */
    interface Brain {
        Decision decide(State state, Input input, Instant now);
    }

    /** A promise was broken. */
    static final class Broken extends AssertionError {
        private static final long serialVersionUID = 1;

        Broken(String message) {
            super(message);
        }
    }

    /** The coordinator's process ended in the middle of something. */
    private static final class Crash extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    /** What may go wrong, as chances out of 1000. */
    record Trouble(int crash, int fail, int silent, int vmDeath, int repeat) {
        static final Trouble NONE = new Trouble(0, 0, 0, 0, 0);
        static final Trouble SOME = new Trouble(8, 30, 8, 2, 100);
    }

    private static final class SimHost {
        final String name;
        final ArrayDeque<Command> inbox = new ArrayDeque<>();
        final Map<String, List<Report>> done = new HashMap<>();
        final Map<String, Command> running = new LinkedHashMap<>();
        final TreeMap<String, Map<String, String>> instances = new TreeMap<>(); // instance -> vm -> state
        final Set<String> openCheckpoints = new HashSet<>();

        SimHost(String name) {
            this.name = name;
        }
    }

    private final Brain brain;
    private final Random random;
    private Trouble trouble;
    private Instant now = Fixture.T0;

    private final Map<String, SimHost> hosts = new TreeMap<>();
    private final ArrayDeque<Input> requests = new ArrayDeque<>();
    private final ArrayDeque<Report> reports = new ArrayDeque<>();
    private final List<Input> unacknowledged = new ArrayList<>();
    private final Map<String, String> journal = new TreeMap<>();
    private final TreeMap<String, CheckpointView> catalog = new TreeMap<>();
    private State state;
    private long epoch;

    // what was seen
    private final Map<String, Command> commands = new HashMap<>();
    private final Map<String, Integer> commandOrder = new HashMap<>();
    private final Map<String, PublicEvent> outcomes = new TreeMap<>();
    private final Set<String> accepted = new HashSet<>();
    private final Set<String> rejected = new HashSet<>();
    private final Set<String> committed = new HashSet<>();
    private int crashes;

    World(long seed, Brain brain, Trouble trouble, int hostCount) {
        this.brain = brain;
        this.random = new Random(seed);
        this.trouble = trouble;
        for (int i = 1; i <= hostCount; i++) {
            hosts.put("h" + i, new SimHost("h" + i));
        }
        restart();
        beatAll();
    }

    State state() {
        return state;
    }

    Map<String, PublicEvent> outcomes() {
        return outcomes;
    }

    int crashes() {
        return crashes;
    }

    Map<String, CheckpointView> catalog() {
        return catalog;
    }

    void calm() {
        trouble = Trouble.NONE;
    }

    void ask(Input.Requested request) {
        requests.add(request);
        if (chance(trouble.repeat())) {
            requests.add(request);
        }
    }

    /** Lets the world go on until everything asked for has an answer. */
    void run(int maxSteps) {
        for (int i = 0; i < maxSteps; i++) {
            step();
            if (quiet()) {
                return;
            }
        }
        throw new Broken("an operation does not end: " + state.operations());
    }

    private boolean quiet() {
        return requests.isEmpty()
                && reports.isEmpty()
                && state.operations().values().stream().allMatch(Operation::ended);
    }

    private void step() {
        now = now.plusMillis(1 + random.nextInt(20));
        switch (random.nextInt(8)) {
            case 0 -> {
                now = now.plusMillis(random.nextInt(400));
                input(new Input.Tick());
            }
            case 1 -> beat(any());
            case 2, 3 -> {
                if (!requests.isEmpty() && random.nextInt(4) == 0) {
                    deliver(requests.poll());
                }
            }
            case 4, 5 -> {
                if (!reports.isEmpty()) {
                    deliver(new Input.Reported(reports.poll()));
                }
            }
            case 6 -> receive(any());
            default -> work(any());
        }
        // all heartbeats must not stop for longer than the limits while hosts are up
        if (random.nextInt(20) == 0) {
            beatAll();
        }
    }

    private SimHost any() {
        var list = List.copyOf(hosts.values());
        return list.get(random.nextInt(list.size()));
    }

    private boolean chance(int perMille) {
        return perMille > 0 && random.nextInt(1000) < perMille;
    }

    // ---- hosts

    void beatAll() {
        hosts.values().forEach(this::beat);
    }

    private void beat(SimHost h) {
        var list = new ArrayList<Heartbeat.InstanceState>();
        h.instances.forEach((name, vms) -> list.add(new Heartbeat.InstanceState(
                name,
                vms.entrySet().stream()
                        .map(e -> Fixture.vm(e.getKey(), e.getValue()))
                        .toList())));
        input(new Input.Beat(Fixture.agent(h.name, 6 * Fixture.GIB, list), now));
        input(new Input.Beat(Fixture.storage(h.name), now));
    }

    private void receive(SimHost h) {
        Command c = h.inbox.poll();
        if (c == null) {
            return;
        }
        String id = c.header().id();
        if (h.done.containsKey(id)) {
            reports.addAll(h.done.get(id));
        } else {
            h.running.putIfAbsent(id, c);
        }
    }

    private void work(SimHost h) {
        if (!h.instances.isEmpty() && chance(trouble.vmDeath())) {
            var vms = h.instances.firstEntry().getValue();
            vms.keySet().stream().findFirst().ifPresent(v -> vms.put(v, "dead"));
        }
        if (h.running.isEmpty()) {
            return;
        }
        Command c = h.running.values().iterator().next();
        h.running.remove(c.header().id());
        boolean bringsBack = c instanceof Command.Destroy || c instanceof Command.Abort;
        if (chance(trouble.silent())) {
            return; // never answers, until it is asked again
        }
        List<Report> answers;
        if (chance(bringsBack ? trouble.fail() / 4 : trouble.fail())) {
            boolean ofBucket = c instanceof Command.Archive || c instanceof Command.Commit;
            answers = List.of(Fixture.failed(
                    c, ofBucket && random.nextInt(4) > 0 ? ErrorCode.REPOSITORY_UNAVAILABLE : ErrorCode.QEMU_FAILED));
        } else if (c instanceof Command.Cut cut && micros(now) > cut.startAtMicros()) {
            answers = List.of(Fixture.failed(c, ErrorCode.TOO_LATE));
        } else {
            answers = act(h, c);
        }
        h.done.put(c.header().id(), answers);
        reports.addAll(answers);
        if (chance(trouble.repeat())) {
            reports.addAll(answers);
        }
    }

    private static long micros(Instant t) {
        return Decider.micros(t);
    }

    private List<Report> act(SimHost h, Command c) {
        String instance = c.header().instance();
        switch (c) {
            case Command.Deploy d -> h.instances.put(instance, vms(d.layout(), h.name));
            case Command.Load l -> h.instances.put(instance, vms(l.layout(), h.name));
            case Command.Destroy d -> h.instances.remove(instance);
            case Command.Prepare p -> h.openCheckpoints.add(p.checkpoint());
            case Command.Abort a -> h.openCheckpoints.remove(a.checkpoint());
            case Command.Commit m -> committed.add(m.header().operation());
            default -> {}
        }
        if (c instanceof Command.ForRepository) {
            return Fixture.answers(c, List.of());
        }
        var vms =
                h.instances.getOrDefault(instance, Map.of()).entrySet().stream().toList();
        if (c instanceof Command.Archive a) {
            return Fixture.answers(c, a.vms());
        }
        List<Report> answers =
                Fixture.answers(c, vms.stream().map(Map.Entry::getKey).toList());
        if (vms.stream().anyMatch(e -> e.getValue().equals("dead"))
                && (c instanceof Command.Prepare || c instanceof Command.Resume || c instanceof Command.Cut)) {
            return List.of(Fixture.failed(c, ErrorCode.VM_DEAD));
        }
        return answers;
    }

    private static Map<String, String> vms(InstanceLayout layout, String host) {
        var map = new TreeMap<String, String>();
        layout.part(host).vms().forEach(v -> map.put(v, "running"));
        return map;
    }

    // ---- the coordinator's process

    private void deliver(Input input) {
        unacknowledged.add(input);
        if (input(input) && random.nextInt(3) > 0) {
            unacknowledged.clear(); // offsets are committed now and then: a crash repeats a few
        }
    }

    /** Decides and carries out; false when the process crashed on the way. */
    private boolean input(Input input) {
        try {
            process(input);
            return true;
        } catch (Crash c) {
            crashes++;
            restart();
            for (Input again : List.copyOf(unacknowledged)) {
                if (!input(again)) {
                    return false;
                }
            }
            unacknowledged.clear();
            return false;
        }
    }

    private void process(Input input) {
        Decision d = brain.decide(state, input, now);
        for (Effect.Journal j : d.journal()) {
            crashPoint();
            write(j);
        }
        crashPoint();
        state = d.state();
        checkState();
        for (Effect e : d.outward()) {
            carryOut(e);
            crashPoint();
        }
        for (Effect e : d.outward()) {
            if (e instanceof Effect.Publish p && p.isOutcome()) {
                process(new Input.Announced(p.subject()));
            }
        }
    }

    private void crashPoint() {
        if (chance(trouble.crash())) {
            throw new Crash();
        }
    }

    private void restart() {
        Trouble before = trouble;
        trouble = new Trouble(before.crash() / 4, before.fail(), before.silent(), before.vmDeath(), before.repeat());
        var operations = new TreeMap<String, Operation>();
        var instances = new TreeMap<String, Instance>();
        try {
            for (var e : journal.entrySet()) {
                if (e.getKey().startsWith("operation/")) {
                    var op = EventCodec.json().readValue(e.getValue(), Operation.class);
                    operations.put(op.id(), op);
                } else {
                    var i = EventCodec.json().readValue(e.getValue(), Instance.class);
                    instances.put(i.name(), i);
                }
            }
        } catch (IOException e) {
            throw new Broken("the journal cannot be read: " + e);
        }
        state = State.of(++epoch, operations, instances, catalog);
        now = now.plus(Duration.ofMillis(500));
        input(new Input.Recovered());
        trouble = before;
        beatAll();
    }

    private void write(Effect.Journal j) {
        try {
            switch (j) {
                case Effect.JournalOperation o ->
                    journal.put(j.key(), EventCodec.json().writeValueAsString(o.operation()));
                case Effect.JournalInstance i ->
                    journal.put(j.key(), EventCodec.json().writeValueAsString(i.instance()));
                case Effect.Forget f -> journal.remove(f.key());
            }
        } catch (JsonProcessingException e) {
            throw new Broken("the journal cannot be written: " + e);
        }
    }

    private Operation journalled(String operation) {
        try {
            String text = journal.get("operation/" + operation);
            return text == null ? null : EventCodec.json().readValue(text, Operation.class);
        } catch (JsonProcessingException e) {
            throw new Broken("the journal cannot be read: " + e);
        }
    }

    // ---- promises

    private void carryOut(Effect e) {
        switch (e) {
            case Effect.Send s -> send(s.command());
            case Effect.Publish p -> publish(p);
            case Effect.Uncatalog u -> catalog.remove(u.checkpoint());
            case Effect.Catalog c -> catalog.put(c.checkpoint().checkpoint(), c.checkpoint());
            case Effect.Journal j -> throw new Broken("journal among the outward effects");
        }
    }

    private void send(Command c) {
        String id = c.header().id();
        Command known = commands.putIfAbsent(id, plain(c));
        if (known != null && !known.equals(plain(c))) {
            throw new Broken("command " + id + " has two contents: " + known + " and " + plain(c));
        }
        commandOrder.putIfAbsent(id, commandOrder.size());
        Operation op = journalled(c.header().operation());
        if (op == null) {
            throw new Broken("command " + id + " before its operation is journalled");
        }
        if (!(c instanceof Command.Destroy) && !phaseOf(c).contains(op.state().phase())) {
            throw new Broken(
                    "command " + id + " while the journal says " + op.state().phase());
        }
        hosts.get(c.header().host()).inbox.add(c);
        if (chance(trouble.repeat())) {
            hosts.get(c.header().host()).inbox.add(c);
        }
    }

    private static List<String> phaseOf(Command c) {
        return c instanceof Command.Cut
                ? List.of(Phases.CUT, Phases.WRITE)
                : List.of(c.header().phase());
    }

    /** Without the epoch, which a repeat after a restart may have newer. */
    private static Command plain(Command c) {
        var tree = (com.fasterxml.jackson.databind.node.ObjectNode)
                EventCodec.json().valueToTree(c);
        ((com.fasterxml.jackson.databind.node.ObjectNode) tree.get("header")).put("epoch", 0);
        try {
            return EventCodec.json().treeToValue(tree, c.getClass());
        } catch (JsonProcessingException e) {
            throw new Broken("a command cannot be read: " + e);
        }
    }

    private void publish(Effect.Publish p) {
        switch (p.event()) {
            case PublicEvent.Accepted a -> {
                if (journalled(a.operation()) == null) {
                    throw new Broken("accepted before it is journalled: " + a);
                }
                accepted.add(a.operation());
            }
            case PublicEvent.Rejected r -> {
                if (journalled(p.subject()) != null) {
                    throw new Broken("rejected, but it is an operation: " + r);
                }
                rejected.add(p.subject());
            }
            default -> {}
        }
        if (!p.isOutcome()) {
            return;
        }
        PublicEvent known = outcomes.putIfAbsent(p.subject(), p.event());
        if (known != null && !known.equals(p.event())) {
            throw new Broken("two outcomes of " + p.subject() + ": " + known + " and " + p.event());
        }
        Operation op = journalled(p.subject());
        if (op == null || !(op.state() instanceof Ended)) {
            throw new Broken("outcome before it is journalled: " + p.event());
        }
        if (p.event() instanceof PublicEvent.CheckpointCompleted && !committed.contains(p.subject())) {
            throw new Broken("a checkpoint is complete, but nothing was committed: " + p.event());
        }
        if (p.event() instanceof PublicEvent.Failed f && f.kind() == OperationKind.checkpoint) {
            for (String host : op.hosts()) {
                if (!commands.containsKey(op.id() + "/" + host + "/abort/1")) {
                    throw new Broken("a checkpoint failed without an abort on " + host + ": " + f);
                }
                boolean answered = f.hosts().stream().noneMatch(x -> x.host().equals(host));
                if (answered && hosts.get(host).openCheckpoints.contains(op.checkpoint())) {
                    throw new Broken("a failed checkpoint is still open on " + host + ": " + f);
                }
            }
        }
        if (p.event() instanceof PublicEvent.Failed f
                && (f.kind() == OperationKind.deploy || f.kind() == OperationKind.restore)) {
            int attempt = f.kind() == OperationKind.restore ? 2 : 1;
            for (String host : op.hosts()) {
                if (!commands.containsKey(op.id() + "/" + host + "/destroy/" + attempt)) {
                    throw new Broken("a " + f.kind() + " failed without a destroy on " + host + ": " + f);
                }
            }
        }
    }

    private void checkState() {
        var active = new HashMap<String, String>();
        for (Operation op : state.operations().values()) {
            if (op.state() instanceof Active) {
                String on = op.instance() != null ? op.instance() : op.kind().exclusive() ? "~" : "~" + op.id();
                String other = active.put(on, op.id());
                if (other != null) {
                    throw new Broken("two operations on " + on + ": " + other + " and " + op.id());
                }
            }
        }
        var vnis = new HashSet<Integer>();
        for (Instance i : state.instances().values()) {
            for (int vni : i.layout().vnis().values()) {
                if (!vnis.add(vni)) {
                    throw new Broken("VNI " + vni + " is used twice");
                }
            }
        }
    }

    /** What must hold when everything is over. */
    void checkEnd() {
        for (String op : accepted) {
            if (!outcomes.containsKey(op) && state.operations().containsKey(op)) {
                throw new Broken("no outcome of " + op);
            }
        }
        for (PublicEvent e : outcomes.values()) {
            if (e instanceof PublicEvent.ForgetCompleted f && !f.result().dryRun()) {
                f.result().forgotten().forEach(c -> {
                    if (catalog.containsKey(c.checkpoint())
                            || state.checkpoints().containsKey(c.checkpoint())) {
                        throw new Broken("the catalog still has " + c.checkpoint() + ", which was forgotten");
                    }
                });
            }
        }
        for (Instance i : state.instances().values()) {
            if (i.operation() != null) {
                throw new Broken("instance " + i.name() + " is still held by " + i.operation());
            }
        }
    }

    /** VMs that a host has. */
    List<VmState> vms(String host, String instance) {
        return hosts.get(host).instances.getOrDefault(instance, Map.of()).entrySet().stream()
                .map(e -> Fixture.vm(e.getKey(), e.getValue()))
                .toList();
    }

    Set<String> rejected() {
        return rejected;
    }
}
