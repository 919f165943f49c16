"""Receipts: what a deletion did, hash-chained, signed, and checkable by others."""
