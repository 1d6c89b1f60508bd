"""From a table to a model file.

- `dataset`: rows and labels; `readers`: where they come from
- `formats`: files of many formats, as Arrow's tables
- `columns`: what a table's columns hold, as is learnt of it, and how later ones are read
- `features`: from raw rows to the numbers that a network gets
- `kept_apart`, `frames`: sets of one's own beside the data, from files and in memory
- `loading`, `gathering`, `memory`: a table by its schema, and what memory has no room for
- `fingerprints`, `table_digest`: to know data again
- `leaks`, `row_hashes`: what stands twice in them
- `target`: from labels to what a loss takes, and back
- `parts`, `building`, `experiment`: a training run by its settings
- `time_budget`: the training that fits into a given time
- `model`: a network with all that it needs for raw columns
- `tuning`: a search over settings
- `estimators`: scikit-learn's interface to it: `TabularClassifier` and `TabularRegressor`
- `estimator_base`: what both have; `estimator_settings`, `estimator_rows`, `estimator_files`: their
  parameters, rows and files
- `evaluation`: how good it is
"""
