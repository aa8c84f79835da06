"""Writes and reads the files of a run.

layout.py           the name of every file of a run
directory.py        the output directory: its lock, its inputs, what a resumed run may change
stored_config.py    the settings of a run; those of version 0.1 are translated
checkpoints/        the only package that imports orbax
results.py          results.json; teacher_result.py is an entry of its teachers, results_table.py prints it
curves.py           curves.npz
tensorboard.py      the same curves for TensorBoard
kept.py             the kept actors with their drones and settings, to be evaluated or exported
analysis.py         runs as labelled arrays
weights_file.py     a .npz file with the weights of a policy and their provenance, of which there are two kinds:
warm_start.py       the actor from which a training begins; warm_start.npz is the packaged one
student_file.py     the student into which the teachers were distilled
"""
