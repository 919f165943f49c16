"""The rows of the service's nouns: how they are found, made, changed and counted."""
