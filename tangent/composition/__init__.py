"""Composition: what components become together.

Weighted sums of them, bit for bit, and what each adds to an answer; the check that another
service's component can be composed here; and in `merging`, new components made from others.
"""
