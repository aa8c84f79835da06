"""A teacher for a microcontroller: one C99 header that depends only on math.h."""

import json
from pathlib import Path

import numpy as np

from raptor_jax.export.teacher import Teacher
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from raptor_jax.utils.files import write_text

_HEADER = """\
/* A teacher of raptor_jax; include one such header in a program.
{provenance}
*/
#ifndef {guard}
#define {guard}

#include <math.h>

{constants}
/* observation: position error (3, m, world frame), rotation matrix body to world row by row (9), velocity error
   (3, m/s, world frame), body rates (3, rad/s), previous action (4), rotor states on the scale of the action (4).
   action: throttle of the rotors front right, back right, back left, front left; -1 is the least, 1 the greatest. */
static inline void raptor_teacher_action(const float observation[{inputs}], float action[{outputs}])
{{
{layers}}}

#endif
"""

_CONSTANTS = """\
static const float raptor_teacher_{layer}_kernel[{outputs}][{inputs}] = {{
{kernel}
}};
static const float raptor_teacher_{layer}_bias[{outputs}] = {{{bias}}};
"""

_LAYER = """\
    for (int i = 0; i < {outputs}; i++) {{
        float sum = raptor_teacher_{layer}_bias[i];
        for (int j = 0; j < {inputs}; j++) {{
            sum += raptor_teacher_{layer}_kernel[i][j] * {source}[j];
        }}
        {target}[i] = {activation};
    }}
"""

_RELU = "sum < 0.0f ? 0.0f : sum"
"""Unlike fmaxf, this propagates NaN, so that a broken observation is visible in the action."""


def write(path: Path, teacher: Teacher) -> None:
    """Writes the header: the weights as constants, and the function `raptor_teacher_action`."""
    constants, layers, source = "", "", "observation"
    for layer, values in teacher.mean_layers.items():
        inputs, outputs = values["kernel"].shape
        kernel = ",\n".join(f"    {{{_numbers(row)}}}" for row in values["kernel"].T)
        shape = {"layer": layer, "inputs": inputs, "outputs": outputs}
        constants += _CONSTANTS.format(**shape, kernel=kernel, bias=_numbers(values["bias"]))
        target, activation = ("action", "tanhf(sum)") if layer == "output" else (layer, _RELU)
        if target != "action":
            layers += f"    float {target}[{outputs}];\n"
        layers += _LAYER.format(**shape, source=source, target=target, activation=activation)
        source = target
    text = _HEADER.format(
        # JSON escapes line ends and non-ASCII characters, and no file name contains the slash that would end a comment.
        provenance=json.dumps(teacher.provenance, indent=1),
        guard=f"RAPTOR_{teacher.name.upper()}_H",
        constants=constants,
        inputs=OBSERVATION_DIM,
        outputs=ACTION_DIM,
        layers=layers,
    )
    write_text(path, text)


def _numbers(values: np.ndarray) -> str:
    """Returns float32 numbers as C constants with enough digits for the same bits."""
    return ", ".join(f"{value:.8e}f" for value in values)
