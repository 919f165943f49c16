"""Receipts, checkpoints and proofs, checked without a service: they need texts and keys only."""
