"""From raw rows to the numbers that a network gets, as is learnt of training rows.

- `preprocessing`: which features rows have: `array_features` or `table_features`
- `base`: what these have in common
- `numeric`: numbers, truth values, dates and times as numbers; `categories`: categories as codes
- `scaling`: centres and scales that numbers are brought to a common size by; `quantiles`:
  medians and quartiles of rows that come some at a time
"""
