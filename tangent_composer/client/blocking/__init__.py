# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""The client for programs without an event loop, generated from `asynchronous`."""
