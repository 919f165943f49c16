"""Solvers of small problems: ridge, evidence, conjugate gradients, active sets, losses."""
