"""The engine: opened spaces, composed deltas and batches of images, on one device."""
