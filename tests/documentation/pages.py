"""The commands and the Python of a page of the documentation, in their order."""

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
PROGRAMS = ("raptor-jax", "python", "pip", "tensorboard", "taskset", "scripts/", "git", "srun", "sbatch")
NOT_RUN = "not run by the tests"
"""The marker, in the title of a fence, of a block that is only checked for its syntax."""

_BLOCK = re.compile(
    r"(?ms)^```(?P<info>[^\n]*)\n(?P<fenced>.*?)^```$|(?P<indented>(?:^    [^\n]*\n(?:\s*\n(?=    ))?)+)"
)


class Block(NamedTuple):
    """Commands, one a line (`bash`); Python; or a script that is not run (`script`)."""

    kind: str
    text: str


def blocks(page: str) -> list[Block]:
    """Returns what a reader of a page could run."""
    found = []
    for match in _BLOCK.finditer(page):
        language, _, title = (match["info"] or "").partition(" ")
        if match["indented"]:
            lines = textwrap.dedent(match["indented"]).splitlines()
            commands = [line for line in lines if line.startswith(PROGRAMS)]
            found += [Block("bash", "\n".join(commands))] if commands else []
        elif language == "bash":
            found.append(Block("script" if NOT_RUN in title else "bash", match["fenced"]))
        elif language == "python":
            found.append(Block("python", match["fenced"]))
    return found


def commands(block: Block) -> list[str]:
    """Returns the commands of a block, one a line."""
    return [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
