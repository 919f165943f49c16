"""Training: how a component's tangent vector is computed from images."""
