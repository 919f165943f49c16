"""Datasets: their rows and images, which images are trained on, and the privacy spent on them."""
