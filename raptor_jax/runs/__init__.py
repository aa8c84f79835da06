"""What a run leaves on disk, written and read back.

directory.py        who may write where, what lies beside the checkpoints, what a resume may change
stored_config.py    the settings beside the checkpoints, those of version 0.1 included
checkpoints.py      the only module that imports orbax
results.py          results.json, and the table at the end
curves.py           curves.npz; tensorboard.py the same for TensorBoard
kept.py             the kept actors with their drones and settings, to be flown again or handed on
analysis.py         runs as labelled arrays
warm_start.py       the file that a training begins from; warm_start.npz is the one that ships
"""
