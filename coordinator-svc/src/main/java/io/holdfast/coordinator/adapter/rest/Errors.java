package io.holdfast.coordinator.adapter.rest;

import io.holdfast.schemas.event.ErrorCode;
import io.holdfast.schemas.event.Problem;
import io.holdfast.schemas.view.ErrorView;
import jakarta.ws.rs.WebApplicationException;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.util.List;
import org.jboss.logging.Logger;
import org.jboss.resteasy.reactive.server.ServerExceptionMapper;

/** Errors of the REST interface: always an {@link ErrorView}. */
class Errors {
    private static final Logger LOG = Logger.getLogger(Errors.class);

    static Response answer(int status, List<Problem> problems) {
        return Response.status(status)
                .type(MediaType.APPLICATION_JSON)
                .entity(new ErrorView(problems))
                .build();
    }

    static WebApplicationException notFound(ErrorCode code, String message) {
        return new WebApplicationException(answer(404, List.of(new Problem(code, "", message, "list what there is"))));
    }

    @ServerExceptionMapper
    Response web(WebApplicationException e) {
        Response r = e.getResponse();
        if (r.hasEntity()) {
            return r;
        }
        return answer(
                r.getStatus(),
                List.of(new Problem(
                        ErrorCode.INVALID_EVENT,
                        "",
                        r.getStatusInfo().getReasonPhrase(),
                        "see docs/protocol.md for the paths and bodies")));
    }

    @ServerExceptionMapper
    Response other(RuntimeException e) {
        LOG.error("event=rest_defect", e);
        return answer(
                500,
                List.of(new Problem(
                        ErrorCode.INTERNAL, "", String.valueOf(e.getMessage()), "see the coordinator's log")));
    }
}
