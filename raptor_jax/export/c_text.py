"""Parts of C headers: float32 constants, dense layers and provenance as text."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

RELU = "sum < 0.0f ? 0.0f : sum"
"""Unlike fmaxf, this propagates NaN, so that a broken observation is visible in the action."""

_DENSE = """\
    for (int i = 0; i < {outputs}; i++) {{
        float sum = {name}_bias[i];
        for (int j = 0; j < {inputs}; j++) {{
            sum += {name}_kernel[i][j] * {source}[j];
        }}
        {target}[i] = {activation};
    }}
"""


def comment(provenance: dict[str, Any]) -> str:
    """Returns provenance as JSON that is safe in a C comment."""
    # JSON escapes line ends and non-ASCII characters, but not the marks that begin or end a comment.
    return json.dumps(provenance, indent=1).replace("*", "\\u002a")


def kernel(name: str, values: np.ndarray) -> str:
    """Returns the constant NAME_kernel [outputs][inputs] from a kernel [inputs, outputs]."""
    inputs, outputs = values.shape
    rows = ",\n".join(f"    {{{_numbers(row)}}}" for row in values.T)
    return f"static const float {name}_kernel[{outputs}][{inputs}] = {{\n{rows}\n}};\n"


def bias(name: str, values: np.ndarray) -> str:
    """Returns the constant NAME_bias."""
    return f"static const float {name}_bias[{values.size}] = {{{_numbers(values)}}};\n"


def dense(name: str, values: np.ndarray, source: str, target: str, activation: str) -> str:
    """Returns the statements of a dense layer.

    Args:
        name: prefix of its constants.
        values: kernel [inputs, outputs].
        source: the variable with its input.
        target: the variable for its output.
        activation: the expression of the output from `sum`.
    """
    inputs, outputs = values.shape
    return _DENSE.format(name=name, inputs=inputs, outputs=outputs, source=source, target=target, activation=activation)


def _numbers(values: Iterable[float]) -> str:
    """Returns float32 numbers as C constants with enough digits for the same bits."""
    return ", ".join(f"{value:.8e}f" for value in values)
