"""Access: API keys, the caller that a request has, and how much a caller may do in a time."""
