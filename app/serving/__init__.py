"""What a client asks of the service, but for deletions: each request is one function of Parts."""
