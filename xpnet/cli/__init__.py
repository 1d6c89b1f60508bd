"""The commands.

- `app`: all of them together
- `train`, `use`, `profile`, `info`: one or two commands each
- `profile_subject`: what is profiled
- `schema`: what a table's columns hold
- `resume`, `outputs`: training that goes on, and what it leaves
- `options`: what the commands have in common
- `console`: what is printed, and Ctrl-C
- `streams`: standard output that fails
- `system`: what is known of the machine
"""
