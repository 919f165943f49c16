"""Backups, restores and moves of a store: all its rows, and the blobs that they name."""
