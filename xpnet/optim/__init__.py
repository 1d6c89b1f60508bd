"""How weights change.

- `optimizers`: from a gradient to an update
- `options`: what their options may be
- `schedules`: the learning rate and the like, as functions of the step
- `averages`: moving averages of a series
"""
