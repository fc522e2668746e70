package io.holdfast.schemas.view;

import io.holdfast.schemas.event.Problem;
import java.util.List;

/** Body of every error answer of the REST interface. */
public record ErrorView(List<Problem> problems) {
    public ErrorView {
        problems = List.copyOf(problems);
    }
}
