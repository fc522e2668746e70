package io.holdfast.schemas.event;

/**
 * Which checkpoints of an instance a forget keeps: the newest of each of the last so many hours, days, ISO weeks and
 * months (UTC) that have any, and the newest {@code last}. What one rule keeps, stays. Each may be null; at least one is
 * given.
 */
public record KeepPolicy(Integer last, Integer hourly, Integer daily, Integer weekly, Integer monthly) {
    /** Whether no rule is given: then nothing would be kept, so that such a policy is refused. */
    public boolean keepsNothing() {
        return last == null && hourly == null && daily == null && weekly == null && monthly == null;
    }
}
