"""Teachers as NumPy, ONNX, RLtools and C files, one module for each format, and their flights as a data set.

`all_teachers` writes those of a run in one NumPy file.
"""
