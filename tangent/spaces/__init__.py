"""Spaces: a backbone with a scope, opened by name or from a card."""
