"""Access: API keys, the caller of a request, and how much a caller may do in a time and keep."""
