package io.holdfast.storage.adapter.cli;

/** The words of a command make no sense. */
final class UsageException extends RuntimeException {
    private static final long serialVersionUID = 1;
}
