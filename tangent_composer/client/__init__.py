"""The Python client: `asynchronous` is written by hand, `blocking` is generated from it."""
