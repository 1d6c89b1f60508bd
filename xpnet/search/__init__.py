"""Hyper-parameters.

- `distributions`: what values are drawn from
- `space`: what is searched in: distributions by name, with grids, random draws and conditions
- `trials`, `study`: a setting that is trained, and all of them
- `random_study`: a study that draws at random
- `about`: what a study is of
- `candidates`: what a setting comes to
- `optuna_study`: a study that Optuna proposes for, kept where several processes share it
- `storages`: where it is kept
- `workers`, `attempts`: who is alive, and why no setting is lost or trained twice to its end
- `proposals`, `known`: Optuna's words for a space, and a study's trials as they are known here
- `studies`, `loaded_study`, `pictures`: studies made, and loaded to look at
- `search`: the loop: trials are asked for, trained, judged and ended
- `groups`, `runs`: which of them can be trained together, and those that wait
- `places`: where they are trained; `halving`: which are stopped early, `stopped`: which go on
- `result`: what was found; `verdict`: whether it was worth it
- `default_spaces`: what is searched in if nobody says
"""
