"""From a table to a model file.

- `readers`: what the command line takes as DATA; `dataset`: rows and labels, as they were found
- `formats`: tables in files, some rows at a time, and arrays
- `fingerprints`, `leaks`: to know data again, and what stands twice in it
- `features`, `scaling`, `target`: from columns to numbers and back
- `settings`, `specs`, `experiment`: a training run by its settings, and how they are written
- `model`: a network with all that it needs for raw columns
- `evaluation`: how good it is
"""
