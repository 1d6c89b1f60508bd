"""From a table to a model file.

- `readers`: files of many formats
- `features`, `scaling`, `target`: from columns to numbers and back
- `settings`, `experiment`: a training run by its settings
- `model`: a network with all that it needs for raw columns
- `evaluation`: how good it is
"""
