"""Components: one tangent vector, its statistics and settings, and its safetensors file."""
