"""What a table's columns hold, learnt from a whole file, and how a later one is read as the same.

- `tables`: tables in memory, whosever they are, as Arrow's
- `raw_columns`: their columns as they are given, for features alone
- `kinds`: what a column may be; `text_forms`: how text is written
- `schema`: a table's columns, each of its kind; `scan`: how that is found
- `reading`: a column's values as those of its kind
"""
