"""``stream-engine doctor``: check what durability needs, and say what to do."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import click
from rich.text import Text

from stream_engine.cli.apps import engine_name
from stream_engine.cli.output import print_json, print_lines, say
from stream_engine.core.views.diagnosis import Finding, diagnose
from stream_engine.core.views.facts import Facts
from stream_engine.shell.operating.doctor import examine
from stream_engine.shell.settings import Settings

_STYLES: Final = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: all that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: settings and findings.")
@click.pass_context
def doctor(ctx: click.Context, app: str | None, *, as_json: bool) -> None:
    """Check broker, topics, groups, settings and state against what durability needs. Exit 1 if something is wrong.

    To compare clocks it sends one event, engine/doctor, which triggers nothing.
    """
    settings = Settings.from_env()
    wanted = app or settings.app
    facts = examine(settings, None if wanted is None else engine_name(wanted))
    findings = diagnose(facts)
    if as_json:
        print_json({"settings": facts.settings, "findings": findings})
    else:
        print_lines(_report(facts, findings))
    count = Counter(finding.level for finding in findings)
    if count["error"]:
        say(_plural(count["error"], "error"))
        ctx.exit(1)


def _report(facts: Facts, findings: Sequence[Finding]) -> Iterator[Text]:
    yield Text("settings", "bold")
    width = max(map(len, facts.settings))
    for name, value in facts.settings.items():
        yield Text(f"  {name:<{width}}  {value or '(not set)'}")
    yield Text("findings", "bold")
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        style = _STYLES[finding.level]
        yield Text.assemble("  ", (f"{finding.level:<7}", style), f"  {finding.about:<{width}}  {finding.what}")
        if finding.to_do is not None:
            yield Text(f"  {'':7}  {'':{width}}  -> {finding.to_do}")


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
