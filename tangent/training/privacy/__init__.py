"""Differential privacy: class sums released once with noise, and everything after from these."""
