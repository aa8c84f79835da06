"""Training on the host, without numerics. The command `train` runs `loop.train`, `train-start` runs `warm_start`.

loop.py          rounds of chunks, with evaluations, logs and checkpoints in between
rounds.py        the teachers of a round on the devices, and its compiled programs
setup.py         the constant part of the state: what to train, on which devices, from which weights
state.py         the part of the state that changes
capacity.py      checks memory and disk space
startup.py       everything before the first chunk: the output directory, the checks, the first state
resume.py        reads the newest undamaged checkpoint and returns its state
divergence.py    rolls back teachers whose numbers became non-finite
extra_rounds.py  which teachers are trained further after a round, and how such a round begins
evaluations.py   during a round, to keep the best actors; at the end, of the kept actors
saving.py        the content of a checkpoint
output.py        the files that a training writes
failures.py      reports a full disk or device memory as a one-line error
signals.py       SIGTERM and Ctrl-C stop a training after a checkpoint
progress.py      the output on the console
warm_start.py    trains one actor on many drones
"""
