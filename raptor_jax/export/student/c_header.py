"""The student for a microcontroller: one C99 header that depends only on math.h, with the memory in a struct."""

from pathlib import Path

from raptor_jax.export import c_text
from raptor_jax.export.student.policy import Student
from raptor_jax.utils.files import write_text

_NAME = "raptor_student"

_HEADER = """\
/* A student of raptor_jax, one recurrent policy for all drones; include one such header in a program.
{provenance}
*/
#ifndef RAPTOR_STUDENT_H
#define RAPTOR_STUDENT_H

#include <math.h>

{constants}
/* The memory between steps; each drone has its own. */
typedef struct {{
    float memory[{width}];
}} raptor_student_state;

/* Begins a flight. */
static inline void raptor_student_reset(raptor_student_state *state)
{{
    for (int i = 0; i < {width}; i++) {{
        state->memory[i] = 0.0f;
    }}
}}

/* One step, 100 times a second.
   observation: position error (3, m, target's frame), rotation matrix body to target's frame row by row (9), velocity
   error (3, m/s, target's frame), body rates (3, rad/s), previous action (4). Axes: forward, left, up.
   action: throttle of the rotors front right, back right, back left, front left, from -1 (lowest) to 1 (highest). It is
   not clipped; clip it both for the rotors and as the previous action of the next observation. */
static inline void raptor_student_action(raptor_student_state *state, const float observation[22], float action[4])
{{
    float input[{width}], next[{width}];
{input}\
    for (int i = 0; i < {width}; i++) {{
        float r = raptor_student_ir_bias[i], z = raptor_student_iz_bias[i];
        float n = raptor_student_in_bias[i], kept = raptor_student_hn_bias[i];
        for (int j = 0; j < {width}; j++) {{
            r += raptor_student_ir_kernel[i][j] * input[j] + raptor_student_hr_kernel[i][j] * state->memory[j];
            z += raptor_student_iz_kernel[i][j] * input[j] + raptor_student_hz_kernel[i][j] * state->memory[j];
            n += raptor_student_in_kernel[i][j] * input[j];
            kept += raptor_student_hn_kernel[i][j] * state->memory[j];
        }}
        r = 1.0f / (1.0f + expf(-r));
        z = 1.0f / (1.0f + expf(-z));
        n = tanhf(n + r * kept);
        next[i] = (1.0f - z) * n + z * state->memory[i];
    }}
    for (int i = 0; i < {width}; i++) {{
        state->memory[i] = next[i];
    }}
{output}\
}}

#endif
"""


def write(path: Path, student: Student) -> None:
    """Writes the weights as constants, the type raptor_student_state, and raptor_student_reset and _action."""
    layers = student.layers
    constants = ""
    for name, layer in {"input": layers["input"], **layers["gru"], "output": layers["output"]}.items():
        constants += c_text.kernel(f"{_NAME}_{name}", layer["kernel"])
        # The gates r and z have a bias for the input only.
        constants += c_text.bias(f"{_NAME}_{name}", layer["bias"]) if "bias" in layer else ""
    text = _HEADER.format(
        provenance=c_text.comment(student.provenance),
        constants=constants,
        width=student.width,
        input=c_text.dense(f"{_NAME}_input", layers["input"]["kernel"], "observation", "input", c_text.RELU),
        output=c_text.dense(f"{_NAME}_output", layers["output"]["kernel"], "state->memory", "action", "sum"),
    )
    write_text(path, text)
