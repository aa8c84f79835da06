"""What the command line does: one module a command, with its options and its run.

options.py          what a command is, and the options that several take
devices.py          where a command computes
exit_status.py      how it ends
evaluate_own.py     each teacher on its own drone, for `evaluate`
evaluate_matrix.py  every teacher on every drone, for `evaluate --matrix`
"""
