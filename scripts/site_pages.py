"""A hook of mkdocs: makes the reference from the code, and adds the files outside of docs/ that pages link.

It needs no jax: the commands declare their options, and the settings their types, without it.
"""

import argparse
import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from annotated_types import Ge, Gt, Le, Lt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic.fields import FieldInfo

from raptor_jax import cli
from raptor_jax import config as configs
from raptor_jax.commands import exit_status
from raptor_jax.commands.options import Command

ROOT = Path(__file__).parents[1]

_PUBLIC = ("raptor_jax.api", "raptor_jax.runs.analysis", "raptor_jax.gymnasium_env")
_API = """# API

`raptor_jax.api` contains the functions that `import raptor_jax` offers: `raptor_jax.train` is `raptor_jax.api.train`.
`raptor_jax.analysis` is `raptor_jax.runs.analysis`. All other modules are not public.
"""

_NOTE = """!!! note
    The numbers on this page belong to the machine, the versions and the commit that it names. The tests of the
    documentation do not repeat the benchmarks that produced them: they check that these still accept their arguments.
"""

_OUTSIDE = re.compile(r"\]\(\.\./([\w./]+)\)")
"""A link from a page to a file of the repository that is not in docs/."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages, and the files that pages link outside of docs/."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/api.md": "\n".join([_API, *(f"::: {module}\n" for module in _PUBLIC)]),
        "project/contributing.md": (ROOT / "CONTRIBUTING.md").read_text(),
        "project/changelog.md": (ROOT / "CHANGELOG.md").read_text(),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    linked = {link for file in files.documentation_pages() for link in _OUTSIDE.findall(file.content_string)}
    for link in sorted(linked):
        files.append(File.generated(config, link, abs_src_path=str(ROOT / link)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Redirects links out of docs/ to the copies in the site, and says how far the tests go with long commands."""
    markdown = _OUTSIDE.sub(r"](\1)", markdown)
    if page.parent is None or page.parent.title != "Evidence" or "python -m benchmarks" not in markdown:
        return markdown
    heading, _, rest = markdown.partition("\n")
    return f"{heading}\n\n{_NOTE}\n{rest}"


def commands_page() -> str:
    """Returns the page of all commands and exit statuses, from their parsers."""
    lines = ["# Commands", ""]
    for command in cli.COMMANDS.values():
        lines += [*_command(command), ""]
    return "\n".join([*lines, *_exit_statuses()])


def settings_page() -> str:
    """Returns the page of all settings, from their declarations."""
    lines = ["# Settings", ""]
    lines += ["Each key is a key of the YAML file, `SECTION: {KEY: VALUE}`, and an option, `--SECTION.KEY VALUE`.", ""]
    for name, section in configs.sections().items():
        lines += [f"## {name}", "", section.__doc__ or "", ""]
        rows = (_setting(key, field) for key, field in section.model_fields.items())
        lines += [*_table(("key", "type and range", "unit", "default", "meaning"), rows), ""]
    return "\n".join(lines)


def _command(command: Command) -> Iterator[str]:
    parser = argparse.ArgumentParser(prog=f"raptor-jax {command.name}", add_help=False)
    command.add_options(parser)
    yield f"## {command.name}"
    yield f"\n    raptor-jax {command.name} {command.usage}\n"
    yield f"{command.summary[0].upper()}{command.summary[1:]}.\n"
    settings = {key.replace("_", "-") for key in configs.all_keys()}
    own = [action for action in parser._actions if action.option_strings[-1:] not in [[f"--{key}"] for key in settings]]
    yield from _table(("argument", "value", "meaning"), map(_option, own))
    shared = sorted({key.split(".")[0] for key in settings if f"--{key}" in parser._option_string_actions})
    if shared:
        sections = ", ".join(f"[{section}](settings.md#{section})" for section in shared)
        yield f"\nIt also accepts the settings of {sections} as options."


def _option(action: argparse.Action) -> Sequence[str]:
    name = f"`{action.option_strings[0]}`" if action.option_strings else f"`{action.metavar or action.dest}`"
    if action.choices:
        value = " or ".join(f"`{choice}`" for choice in action.choices)
    elif action.nargs == 0 or not action.option_strings:
        value = ""
    else:
        value = f"`{action.metavar or action.dest.upper()}`"
    return name, value, (action.help or "") % {"default": f"`{action.default}`"}


def _setting(key: str, field: FieldInfo) -> Sequence[str]:
    description = field.description or ""
    unit = re.search(r"\s*\[([^\]]+)\]", description)
    if unit:
        description = description.replace(unit.group(), "", 1).removeprefix(";").strip()
    kind = configs.type_name(field.annotation).strip("{}").lower().replace(",", " or ")
    return (
        f"`{key}`",
        f"{kind} {_range(field)}".strip(),
        unit.group(1) if unit else "",
        f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`",
        description or _bound(key),
    )


def _bound(key: str) -> str:
    """Returns the meaning of a setting that is a bound of a range and needs no description."""
    name, _, end = key.rpartition("_")
    return f"{ {'min': 'smallest', 'max': 'largest'}[end] } {name.replace('_', ' ')}"


def _range(field: FieldInfo) -> str:
    words = {Gt: ("above", "gt"), Ge: ("at least", "ge"), Lt: ("below", "lt"), Le: ("at most", "le")}
    return ", ".join(
        f"{words[type(limit)][0]} {getattr(limit, words[type(limit)][1])}".replace(str(2**31), "2^31")
        for limit in field.metadata
        if type(limit) in words
    )


def _exit_statuses() -> Iterator[str]:
    """Yields the table of exit statuses, from the constants of the module and the strings below them."""
    body = ast.parse(Path(exit_status.__file__).read_text()).body
    rows = [
        (f"`{getattr(exit_status, one.targets[0].id)}`", text.value.value)
        for one, text in itertools.pairwise(body)
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    ]
    yield "## Exit status\n"
    yield from _table(("status", "meaning"), rows)
    yield "\nAn error is one line on the standard error, which names the file, the field, the value and how to fix it."


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"
