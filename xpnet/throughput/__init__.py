"""Which batch size.

- `timing`: what the times of a step at several batch sizes say
- `measuring`: how they are measured
"""
