"""A teacher for a microcontroller: one C99 header that depends only on math.h."""

from pathlib import Path

from raptor_jax.export import c_text
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
   action: throttle of the rotors front right, back right, back left, front left, from -1 (lowest) to 1 (highest). */
static inline void raptor_teacher_action(const float observation[{inputs}], float action[{outputs}])
{{
{layers}}}

#endif
"""


def write(path: Path, teacher: Teacher) -> None:
    """Writes the header: the weights as constants, and the function `raptor_teacher_action`."""
    constants, layers, source = "", "", "observation"
    for layer, values in teacher.mean_layers.items():
        name = f"raptor_teacher_{layer}"
        constants += c_text.kernel(name, values["kernel"]) + c_text.bias(name, values["bias"])
        target, activation = ("action", "tanhf(sum)") if layer == "output" else (layer, c_text.RELU)
        if target != "action":
            layers += f"    float {target}[{values['bias'].size}];\n"
        layers += c_text.dense(name, values["kernel"], source, target, activation)
        source = target
    text = _HEADER.format(
        provenance=c_text.comment(teacher.provenance),
        guard=f"RAPTOR_{teacher.name.upper()}_H",
        constants=constants,
        inputs=OBSERVATION_DIM,
        outputs=ACTION_DIM,
        layers=layers,
    )
    write_text(path, text)
