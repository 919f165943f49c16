"""Composition: weighted sums of components, bit for bit, and what each part adds to an answer."""
