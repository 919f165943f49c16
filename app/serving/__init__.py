"""A client's requests, but for evaluations and deletions: every one is a function of Parts."""
