"""What is computed.

- `layer`: what all layers have in common
- `schedule`, `scheduled_numbers`: what changes from step to step, by a function of it; where
  kernels read it
- `linear`, `batch_norm`, `dropout`, `activations`, `categories`: the layers of a network
- `scale`: a factor for each input; `standardize`: constants that bring inputs to a common scale
- `embedded_columns`, `numeric_columns`: what embeddings have in common; `repeated_columns`: these
  beside them
- `periodic`: numbers as waves of learnt frequencies; `piecewise`: as their places among bins
- `ensemble_linear`, `repetition`, `extraction`: layers of members that share weights; the labels
  for them; one of them alone
- `loss`, `losses`: what it is trained for
- `metrics`: errors and scores of predictions
- `initializers`: its first weights
- `buffers`: the memory of layers and batches
- `description`: networks as JSON, as model files hold it
- `stacks`, `snapshots`: layers from hyper-parameters; weights put aside and put back
- `passes`, `prediction`: forward and backward, and what users ask of a network; `few_rows`: the
  same of few examples in one call; `prepared`: for callers that ask again and again;
  `prediction_replays`: batch sizes that come again
- `calibration`: probabilities that are as sure as they are right; `rescaling`: outputs brought to
  another scale
- `claim`: which thread trains it
- `network`: all of it together
- `members`, `stacking`: what networks that are trained at once have of their own, and share
- `replacing`: a member replaced by another network, in place
- `member_views`: members one by one, over the arrays that they share
- `own_batches`: a batch for each member, checked
- `loading`: networks from model files
"""
