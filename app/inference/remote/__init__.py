"""The engine in a process of its own: its messages, the process, and the side that asks it."""
