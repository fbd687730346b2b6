"""What `stembeam doctor` finds, as data and as text: sections of facts, and problems with their cures.

Plain data, no checks; the one idea is that every check says what is, and says of what is wrong: what, where, cure.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

WIDTH = 100  # columns of the text


class Problem(NamedTuple):
    """Something that will keep a run from working, or from working well."""

    what: str
    where: str
    cure: str

    def line(self) -> str:
        """One line for people."""
        return f'{self.what}: {self.where}: {self.cure}'


@dataclasses.dataclass
class Section:
    """What one check has found."""

    name: str
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # what JSON holds
    problems: list[Problem] = dataclasses.field(default_factory=list)

    def add_problem(self, what: str, where: str, cure: str) -> None:
        """Note that something is wrong."""
        self.problems.append(Problem(what, where, cure))


def to_json(sections: Iterable[Section]) -> dict[str, Any]:
    """All that was found, for programs."""
    found = list(sections)
    problems = [problem._asdict() for section in found for problem in section.problems]
    return {'ok': not problems, **{section.name: section.facts for section in found}, 'problems': problems}


def to_text(sections: Iterable[Section]) -> str:
    """All that was found, for people: at most WIDTH columns wide, but for paths longer than that."""
    found = list(sections)
    problems = [problem for section in found for problem in section.problems]
    lines = [line for section in found for line in _section_lines(section)]
    if not problems:
        return '\n'.join([*lines, 'all well'])
    lines.append(f'{len(problems)} problem{"s" if len(problems) > 1 else ""}')
    for problem in problems:
        lines += _wrapped(problem.line(), '  ', '    ')
    return '\n'.join(lines)


def _section_lines(section: Section) -> list[str]:
    lines = [section.name]
    width = max(map(len, section.facts), default=0)
    for name, value in section.facts.items():
        lines += _wrapped(_told(value), f'  {name:{width}}  ', ' ' * (width + 4))
    return lines


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {_told(item)}' for name, item in value.items()) or '-'
    if isinstance(value, list | tuple):
        return ', '.join(map(_told, value)) or '-'
    return '-' if value is None else str(value)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
