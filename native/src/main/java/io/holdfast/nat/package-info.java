/** Loads what the native module has built; the functions are bound by those who call them. */
package io.holdfast.nat;
