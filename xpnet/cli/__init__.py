"""The commands.

- `app`: all of them together
- `train`, `tune`, `use`, `profile`, `info`: one or two commands each
- `search_plan`, `search_run`, `trials`: what tune is to do, does, and shows
- `profile_subject`, `profile_tables`: what is profiled, and shown of it
- `schema`: what a table's columns hold
- `resume`, `outputs`: training that goes on, and what it leaves
- `training_options`, `ranges`: how a training is set, and what is searched
- `introduction`, `results`: what is said before a training, and after it
- `options`: what the commands have in common
- `console`: what is printed, and Ctrl-C
- `streams`: standard output that fails
- `system`: what is known of the machine
"""
