"""Looking at networks, data and training.

- `diagnosis`: what errors say
- `sweeps`: learning curves and the choice of λ
- `cross_validation`: errors on folds that were held out
- `at_once`: trainings of one description as members of one network; `room`: how many of them
- `profiling`, `profile_result`: which batch size a machine likes; `thread_counts`: how
  many threads
- `gradient_noise`, `noise_result`: up to which one a larger one saves steps
- `gradient_check`, `propagation`: whether the mathematics is right
- `plots`: all of it as pictures
"""
