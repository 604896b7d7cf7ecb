"""The reference of the commands, from the parsers that run them."""

import argparse
from collections.abc import Iterator
from typing import Any

import typer
from kgated_edge.cli import main as edge

import kgated_cli  # noqa: F401 - adds the commands to the app
from kgated_cli.app import app

HEAD = "| argument or option | meaning |\n|---|---|"


def workstation_page() -> str:
    """Every command of `kgated`, in Markdown."""
    group = typer.main.get_command(app)
    intro = "Options have the same names as the arguments in Python. `--verbose` works everywhere."
    return "\n\n".join(["# `kgated`", intro, *_typer_commands(group, "kgated")]) + "\n"


def _typer_commands(group: Any, program: str) -> Iterator[str]:
    for name, command in group.commands.items():
        path = f"{program} {name}"
        if isinstance(command, typer.core.TyperGroup):
            yield from _typer_commands(command, path)
        else:
            yield _typer_command(command, path)


def _typer_command(command: Any, path: str) -> str:
    context = typer.Context(command, info_name=path)
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [_row(*record) for record in records if record]
    return "\n\n".join([f"## `{path}`", _code(usage), command.help or "", _table(rows)])


def edge_page() -> str:
    """Every command of `kgated-edge`, in Markdown."""
    commands = next(iter(_subcommands(edge._parser())))
    summaries = {action.dest: action.help or "" for action in commands._choices_actions}
    parts = ["# `kgated-edge`", "Exit codes: 0 passed, 1 a limit was missed, 2 bad input."]
    for name, parser in commands.choices.items():
        summary = summaries[name][:1].upper() + summaries[name][1:] + "."
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        rows = [_edge_row(parser, action) for action in parser._actions]
        parts += [f"## `kgated-edge {name}`", _code(usage), summary, _table(rows)]
    return "\n\n".join(parts) + "\n"


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse._SubParsersAction]:
    kind = argparse._SubParsersAction
    return (action for action in parser._actions if isinstance(action, kind))


def _edge_row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    return _row(formatter._format_action_invocation(action), formatter._expand_help(action))


def _row(name: str, meaning: str) -> str:
    cells = (f"`{name}`", " ".join(meaning.split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(rows: list[str]) -> str:
    return "\n".join([HEAD, *rows])


def _code(text: str) -> str:
    return f"```text\n{text}\n```"
