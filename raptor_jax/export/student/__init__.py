"""The student as NumPy, ONNX, RLtools, C and PX4 files, one module for each format.

policy.py            the student for export
rltools_layers.py    its weights in RLtools' arrangement, for rltools_checkpoint.py and px4_policy.py
"""
