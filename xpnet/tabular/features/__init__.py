"""From raw rows to the numbers that a network gets, as is learnt of training rows.

- `preprocessing`: which features rows have: `array_features` or `table_features`
- `base`: what these have in common
- `numeric`: numbers, truth values, dates and times as numbers; `categories`: categories as codes
"""
