"""Faster forms of an engine's passes: recorded as CUDA graphs, and compiled.

The mathematics is the engine's own: a pass is recorded or compiled as the engine runs it, and is
used once its results agree with the engine's. Whoever needs the engine's own bits asks the engine.
"""
