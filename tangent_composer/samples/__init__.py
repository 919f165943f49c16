"""Real images that come with the package, to try a service with."""
