"""Arrays in, batches out.

- `labels`: rules for labels
- `arrays`: what users give, checked
- `whole_numbers`: those that floating-point numbers do not tell apart
- `subsets`: which examples each member has, and in which order
- `batches`: mini-batches of a data set, and its partition
- `folds`: a data set cut into folds
- `bins`: bins of columns, by quantiles or trees
- `scaling`: centres and scales that columns are brought to a common size by; `quantiles`: medians
  and quartiles of rows that come some at a time
- `streaming`: data that stay on the host or in a file
- `augmentation`, `draws`: random changes of each batch, and their random numbers
"""
