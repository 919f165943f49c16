"""Passes: evaluations and batch predictions as rows, and the queue that API processes share."""
