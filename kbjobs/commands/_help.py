"""How help looks: a screen of 24 lines by 80 columns for ``-h``, everything in groups for ``--help``."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any

from kbjobs.commands._render import is_terminal

SCREEN_WIDTH, SCREEN_OPTIONS, SCREEN_COMMANDS = 80, 10, 14
MAX_WIDTH = 100  # columns beyond which a line is hard to read
MAX_LABEL = 30  # columns of names; the text of a longer one begins on the line below
MAX_CHOICES = 24  # columns; longer lists of choices are written behind the text
WHAT, WHEN, LIMITS, OUTPUT, GENERAL = "What", "When", "Limits", "Output", "General"
MIN_CLAUSE = 10  # characters, below which a clause says too little
PANELS = (WHAT, WHEN, LIMITS, OUTPUT, GENERAL)
# Options of every submit that a person wants next to those of the command, by name.
WANTED = ("all_sources", "dry_run", "not_before", "until", "detach", "as_json")
_OUTPUT = ("as_json", "quiet", "progress", "detach")


@dataclass(frozen=True, slots=True)
class Row:
    """A name and what it means."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class HelpPage:
    """Everything about a command: how it is called, what it does, rows under titles, examples."""

    usage: str
    paragraphs: tuple[str, ...]
    sections: dict[str, list[Row]]
    examples: tuple[str, ...]


def describe(ctx: Any) -> HelpPage:
    """Read the help of a command.

    Args:
        ctx: Typer's context of the command.
    """
    paragraphs, examples = _read_text(ctx.command)
    sections = {"Arguments": _arguments(ctx), **_commands_by_panel(ctx)}
    options = list(_options(ctx))
    for panel in dict.fromkeys((*PANELS, *(panel for panel, _ in options))):
        sections[panel] = [_option_row(ctx, option) for name, option in options if name == panel]
    return HelpPage(
        _usage(ctx), tuple(paragraphs), {title: rows for title, rows in sections.items() if rows}, tuple(examples)
    )


def full_help(ctx: Any) -> str:
    """Everything about a command, as wide as the terminal.

    Args:
        ctx: Typer's context of the command.
    """
    width = min(get_terminal_size().columns, MAX_WIDTH) if is_terminal(sys.stdout) else SCREEN_WIDTH
    page = describe(ctx)
    lines = [f"Usage: {page.usage}", ""]
    for paragraph in page.paragraphs:
        lines += [*textwrap.wrap(paragraph, width), ""]
    for title, rows in page.sections.items():
        lines += _section(title, rows, width)
    return "\n".join([*lines, *_example_lines(page.examples)]).rstrip() + "\n"


def short_help(ctx: Any) -> str:
    """The screen of a command: usage, at most ten options, one example.

    Args:
        ctx: Typer's context of the command.
    """
    paragraphs, examples = _read_text(ctx.command)
    lines = [f"Usage: {_usage(ctx)}", "", *textwrap.wrap(_cut(paragraphs[0], 2 * SCREEN_WIDTH), SCREEN_WIDTH), ""]
    panels = _commands_by_panel(ctx)
    commands = [command for found in panels.values() for command in found]
    if len(commands) > SCREEN_COMMANDS:
        lines += _name_lines({panel: [row.label for row in found] for panel, found in panels.items()})
    else:
        options = [] if commands else [_option_row(ctx, option) for option in _most_wanted(list(_options(ctx)))]
        lines += _one_line_each([*_arguments(ctx), *options, *commands])
    lines += ["", *_example_lines(examples[:1])]
    rest = "kbjobs COMMAND -h explains a command, --help shows everything." if commands else "--help shows everything."
    return "\n".join([*lines, "", rest])


def _usage(ctx: Any) -> str:
    if hasattr(ctx.command, "list_entries"):
        return f"{ctx.command_path} COMMAND …"
    places = [one for one in ctx.command.params if one.param_type_name == "argument" and not one.hidden]
    return " ".join([ctx.command_path, *map(_place, places), "[OPTIONS]"])


def _place(argument: Any) -> str:
    name = _name_argument(argument)
    if name.startswith("["):
        return name
    several = "…" if argument.nargs == -1 and not name.endswith("…") else ""
    return name + several if argument.required else f"[{name}{several}]"


def _read_text(command: Any) -> tuple[list[str], list[str]]:
    """The paragraphs of a command's help, and its examples."""
    parts = [" ".join(part.split()) for part in f"{command.help or ''}\n\n{command.epilog or ''}".split("\n\n")]
    examples = [part.removeprefix("Example:").strip() for part in parts if part.startswith("Example:")]
    return [part for part in parts if part and not part.startswith("Example:")], examples


def _example_lines(examples: Sequence[str]) -> list[str]:
    if not examples:
        return []
    return ["Example:" if len(examples) == 1 else "Examples:", *(f"  {example}" for example in examples)]


def _commands_by_panel(ctx: Any) -> dict[str, list[Row]]:
    """The commands of a group, by the panels they stand in."""
    found: dict[str, list[Row]] = {}
    if hasattr(ctx.command, "list_entries"):
        for entry in ctx.command.list_entries(ctx):
            found.setdefault(entry.panel, []).append(Row(entry.name, " ".join(entry.text.split())))
    return found


def _arguments(ctx: Any) -> list[Row]:
    arguments = [one for one in ctx.command.params if one.param_type_name == "argument" and not one.hidden]
    return [Row(_name_argument(one), one.help or "") for one in arguments]


def _name_argument(argument: Any) -> str:
    name = str(argument.metavar or (argument.name or "").upper())
    return name[1:-1] if name.startswith("[") and name.find("]") == len(name) - 1 else name


def _options(ctx: Any) -> Iterator[tuple[str, Any]]:
    """The options that are shown, each with the panel it stands in."""
    for one in ctx.command.get_params(ctx):
        if one.param_type_name != "option" or one.hidden:
            continue
        is_general = "-h" in one.opts or "--help" in one.opts or ctx.parent is None
        general = GENERAL if is_general else OUTPUT if one.name in _OUTPUT else WHAT
        yield one.rich_help_panel or general, one


def _most_wanted(options: Sequence[tuple[str, Any]]) -> list[Any]:
    """The options of the screen: the command's own, in their order, then some of every submit."""
    shown = [(panel, one) for panel, one in options if panel != GENERAL]
    if len(shown) <= SCREEN_OPTIONS:
        return [one for _, one in shown]
    wanted = [one for _, one in shown if one.name in WANTED]
    own = [one for panel, one in shown if panel == WHAT and one.name not in WANTED]
    return [*own[: SCREEN_OPTIONS - len(wanted)], *wanted]


def _option_row(ctx: Any, option: Any) -> Row:
    text = (option.help or "").strip()
    names = [", ".join(sorted(option.opts, key=len))]
    if option.secondary_opts:
        names.append(", ".join(option.secondary_opts))
    if option.is_flag:
        return Row(" / ".join(names), text)
    value = _name_value(ctx, option)
    if "|" in value and len(value) > MAX_CHOICES:
        text = f"{text.rstrip('.')}: {', '.join(value.split('|'))}."
        value = _name_long(option)
    default = getattr(option.default, "value", option.default)
    if option.show_default and default not in (None, "", (), []) and not callable(default):
        text += f" [default: {default}]"
    return Row(f"{names[0]} {value}", text)


def _name_value(ctx: Any, option: Any) -> str:
    """How the value of an option is written: its choices, or a name in capitals."""
    if option.metavar:
        return str(option.metavar)
    written = str(option.make_metavar(ctx)).strip("<>[]")
    if "|" in written:
        return written
    return {"int": "N", "int range": "N", "float": "N"}.get(written, _name_long(option))


def _name_long(option: Any) -> str:
    """The longest name of an option as the name of its value."""
    return str(max(option.opts, key=len)).lstrip("-").replace("-", "_").upper()


def _section(title: str, rows: Sequence[Row], width: int) -> list[str]:
    """Rows under a title, their texts wrapped beside their names."""
    margin = 4 + min(MAX_LABEL, max(len(row.label) for row in rows))
    lines = [f"{title}:"]
    for row in rows:
        texts = textwrap.wrap(row.text, max(20, width - margin), break_on_hyphens=False) or [""]
        if len(row.label) > MAX_LABEL:
            lines.append(f"  {row.label}")
        else:
            lines.append(f"  {row.label:{margin - 2}}{texts.pop(0)}".rstrip())
        lines += [" " * margin + text for text in texts]
    return [*lines, ""]


def _one_line_each(rows: Sequence[Row]) -> list[str]:
    margin = 4 + min(MAX_LABEL, max((len(row.label) for row in rows), default=0))
    return [
        f"  {row.label:{margin - 2}}{_cut(row.text, SCREEN_WIDTH - max(margin, len(row.label) + 4))}".rstrip()
        for row in rows
    ]


def _name_lines(panels: dict[str, list[str]]) -> Iterable[str]:
    """The names of many commands, wrapped beside the panels they stand in."""
    margin = 4 + max(map(len, panels))
    for panel, names in panels.items():
        first, *rest = textwrap.wrap("  ".join(names), SCREEN_WIDTH - margin, break_on_hyphens=False)
        yield f"  {panel:{margin - 2}}{first}"
        yield from (" " * margin + line for line in rest)


def _cut(text: str, room: int) -> str:
    """The text; if it is longer than the room, its first clauses or, if none fits, its first words."""
    if len(text) <= room:
        return text
    ends = [found.start() for found in re.finditer(r"[;.](?= )", text) if MIN_CLAUSE <= found.start() <= room]
    return text[: ends[-1]] if ends else textwrap.shorten(text, room, placeholder=" …")
