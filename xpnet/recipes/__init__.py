"""How a network for a table is made and trained: by a recipe, or setting by setting.

- `settings`: all that a training is set to; `specs`: things of a name, with options
- `embeddings`: how a network begins that gets numbers
- `facts`: what is known of data; `recipes`: which settings fit them, and why
- `showing`: what a plan says, as a table
- `held_out`: folds that each network holds one of, and what is learnt of it
- `training`: how long, by what and until when it is trained, and what is made of it then
"""
