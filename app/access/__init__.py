"""Access: which caller a request has, and how much a caller may do in a time."""
