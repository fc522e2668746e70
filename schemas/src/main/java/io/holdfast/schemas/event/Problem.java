package io.holdfast.schemas.event;

/**
 * One thing that is wrong with an input.
 *
 * @param code what kind of error
 * @param field JSON pointer of the field, empty for the whole
 * @param message what is wrong
 * @param remedy what to do about it
 */
public record Problem(ErrorCode code, String field, String message, String remedy) {}
