"""Answers over a whole dataset: evaluations and fitted weights."""
