"""The commands: one module for each, with its options and the function that runs it.

options.py          what a command is, and the options that several commands share
devices.py          where a command computes
exit_status.py      its exit statuses
evaluate_matrix.py  `evaluate --matrix`: every teacher on every drone, its table and its picture
"""
