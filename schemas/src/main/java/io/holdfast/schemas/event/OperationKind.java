package io.holdfast.schemas.event;

/** What an operation does. */
public enum OperationKind {
    deploy,
    checkpoint,
    restore,
    destroy
}
