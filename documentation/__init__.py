"""The site of the documentation: the pages of `docs/`, and what is made for them, by Zensical.

`python -m documentation` builds it into `build/docs`.
"""
