"""From a table to a model file.

- `dataset`: rows and labels; `readers`: where they come from; `formats`: files of many formats
- `schema`: what a table's columns hold, each of its `kinds`; `scan`: how that is found;
  `text_forms`: how text is written; `reading`: columns as their kinds; `tables`: tables in memory
- `loading`, `gathering`, `memory`: a table by its schema, and what memory has no room for
- `fingerprints`, `table_digest`, `leaks`: to know data again, and what stands twice in it
- `preprocessing`: from rows to `features`; of arrays `array_features`, of tables `table_features`,
  with their `numeric` columns and `categories`; `scaling`
- `target`: from labels to what a loss takes, and back
- `settings`, `specs`, `parts`, `experiment`: a training run by its settings
- `model`: a network with all that it needs for raw columns
- `evaluation`: how good it is
"""
