"""Policies for other programs, one module for each format, and the flights of teachers as a data set.

teacher.py                  a teacher of a run; numpy_archive, onnx_model, rltools_checkpoint and c_header write it
all_teachers.py             all of a run in one NumPy file
student/                    the student that the teachers were distilled into, in the same formats and for PX4
onnx_file.py, h5_file.py    shared by the writers for teachers and student; c_text.py is the same for the headers
dataset.py                  the flights of teachers (the command `rollout`)
"""
