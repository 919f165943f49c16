"""Unlearning: deletions and changes of datasets, from request to the last removed byte."""
