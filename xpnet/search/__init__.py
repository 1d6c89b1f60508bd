"""Hyper-parameters.

- `space`: grids and random draws
"""
