"""Inference: images through a selection of components."""
