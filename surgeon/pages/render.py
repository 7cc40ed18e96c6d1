"""Templates of pages, with the one stylesheet that all of them share."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render(package: str, template: str, **values: Any) -> str:
    """The template in the folder of `package`, filled in; it may include what lies in this folder."""
    return _environment(package).get_template(template).render(**values)


@cache
def _environment(package: str) -> Environment:
    loaders = [PackageLoader(name, ".") for name in (package, __package__)]
    rooms = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rooms.filters |= {"count": count, "compact": compact, "share": share, "percent": percent, "breakable": breakable}
    return rooms


def breakable(text: str) -> Markup:
    """A name that may go on in the next line behind a dot, a colon, a slash or an underscore.

    >>> breakable("layer1.0")
    Markup('layer1.<wbr>0')
    """
    return Markup(re.sub(r"([._:/]+)(?=\w)", r"\1<wbr>", str(escape(text))))


def count(number: int | None) -> str:
    """`25557032` as `25,557,032`.

    >>> count(25557032), count(None)
    ('25,557,032', '?')
    """
    return "?" if number is None else f"{number:,}"


def compact(number: int | None) -> str:
    """Three figures and a unit.

    >>> compact(4089184256), compact(231211008), compact(8192), compact(12), compact(None)
    ('4.09 G', '231 M', '8.19 k', '12', '?')
    """
    if number is None:
        return "?"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # What would be rounded up to 1,000 of a unit is 1 of the next.
        if number >= size * 0.9995:
            return f"{_three_figures(number / size)} {unit}"
    return str(number)


def _three_figures(number: float) -> str:
    return f"{number:.0f}" if number >= 99.95 else f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"


def share(part: int | None, whole: int | None) -> str:
    """What one number is of another, in percent; two figures, however little it is.

    >>> share(2532704, 25557032), share(1, 100000), share(0, 5), share(None, 5)
    ('9.9 %', '0.001 %', '0 %', '?')
    """
    if part is None or not whole:
        return "?"
    return percent(part / whole)


def percent(number: float) -> str:
    """A share in percent, with two figures where it is small.

    >>> percent(0.0312), percent(2.6295), percent(0)
    ('3.1 %', '263 %', '0 %')
    """
    return f"{100 * number:.2g} %" if number < 0.995 else f"{100 * number:,.0f} %"
