"""What a run leaves on disk, written and read back.

layout.py           the name of every file of a run
directory.py        the output directory: its lock, its inputs, what a resumed run may change
stored_config.py    the settings of a run; those of version 0.1 are translated
checkpoints/        the only package that imports orbax
results.py          results.json; results_table.py prints it
curves.py           curves.npz
tensorboard.py      the same curves for TensorBoard
kept.py             the kept actors with their drones and settings, to be evaluated or exported
analysis.py         runs as labelled arrays
weights_file.py     the weights of a policy with their provenance, in a file that NumPy opens; two kinds of it:
warm_start.py       the file with the actor that a training begins from; warm_start.npz is the packaged one
student_file.py     the file of the student that the teachers were distilled into
"""
