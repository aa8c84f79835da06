"""Teachers in the formats of others, one module for each (NumPy, ONNX, RLtools, C), and their flights as a data set."""
