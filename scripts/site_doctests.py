"""An extension of griffe: shows the doctests of docstrings as code, not only those in a section of examples."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"(?m)^>>> .*\n?(?:^(?!\s*$).*\n?)*")


class Doctests(griffe.Extension):
    """Puts a fence around each paragraph that begins with a prompt."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring of a function, class, attribute or module."""
        if obj.docstring is not None:
            obj.docstring.value = _DOCTEST.sub(r"```pycon\n\g<0>\n```\n", obj.docstring.value)
