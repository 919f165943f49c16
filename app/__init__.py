"""The service: HTTP, the store and the engine that answers predictions."""
