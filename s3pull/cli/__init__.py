"""Wires, prints and exits; nothing else does."""
