"""The host's side of a training: no maths here, and nothing that a device waits for.

loop.py          chunk, evaluate, log, save, rescue, judge: the command `train`
rounds.py        a round of training: its teachers on the devices, and its compiled programs
warm_start.py    one actor on many drones: the command `train-start`
signals.py       a run that is asked to stop
progress.py      what a person sees meanwhile
"""
