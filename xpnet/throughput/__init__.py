"""Which batch size.

- `timing`: what the times of a step at several batch sizes say
- `contention`: what other processes take meanwhile
- `measuring`: how they are measured
"""
