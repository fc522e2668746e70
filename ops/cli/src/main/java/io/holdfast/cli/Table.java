package io.holdfast.cli;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;

/** A plain text table: a head, columns as wide as needed, numbers to the right. Not thread-safe. */
public final class Table {
    private final List<String> head;
    private final List<List<String>> rows = new ArrayList<>();

    public Table(String... head) {
        this.head = List.of(head);
    }

    /** Adds a row; null is shown as a dash. */
    public Table row(Object... cells) {
        List<String> row = new ArrayList<>();
        for (Object c : cells) {
            row.add(c == null || c.toString().isEmpty() ? "-" : c.toString());
        }
        rows.add(row);
        return this;
    }

    public boolean isEmpty() {
        return rows.isEmpty();
    }

    public void print(PrintStream out) {
        int[] width = new int[head.size()];
        boolean[] right = new boolean[head.size()];
        for (int i = 0; i < width.length; i++) {
            int column = i;
            width[i] = head.get(i).length();
            rows.forEach(
                    r -> width[column] = Math.max(width[column], r.get(column).length()));
            right[i] = !rows.isEmpty()
                    && rows.stream()
                            .allMatch(r -> r.get(column).matches("[-0-9.,]+( ?(ms|us|s|B|KiB|MiB|GiB|MiB/s))?"));
        }
        line(out, head, width, right);
        rows.forEach(r -> line(out, r, width, right));
    }

    private static void line(PrintStream out, List<String> cells, int[] width, boolean[] right) {
        StringBuilder b = new StringBuilder();
        for (int i = 0; i < width.length; i++) {
            String pad = " ".repeat(width[i] - cells.get(i).length());
            b.append(right[i] ? pad + cells.get(i) : cells.get(i) + pad).append("  ");
        }
        out.println(b.toString().stripTrailing());
    }
}
