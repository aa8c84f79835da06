"""Training, on the host: no maths here. The command `train` is `loop.train`, the command `train-start` is `warm_start`.

loop.py          rounds of chunks, with evaluations, logs and checkpoints in between
state.py         what stays the same throughout a training, and what changes from chunk to chunk
startup.py       everything before the first chunk: the output directory, the memory check, the first state
resume.py        the newest whole checkpoint, read, and the state that it gives
rounds.py        the teachers of a round on the devices, and its compiled programs
divergence.py    rolls back teachers whose numbers became non-finite
extra_rounds.py  which teachers are trained on after a round, and how such a round begins
evaluations.py   during a round, to keep the best actors; at the end, of the kept actors
saving.py        what a checkpoint contains
output.py        the files that a training writes
failures.py      a full disk or device memory as a one-line error
signals.py       SIGTERM and Ctrl-C stop a training after a checkpoint
progress.py      what is printed meanwhile
warm_start.py    trains one actor on many drones
"""
