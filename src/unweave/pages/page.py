"""What every page has in common: one frame, charts as inline SVG in the page's own colours, numbers
as they are read.

A page is one file that asks for nothing outside itself. Its template extends `page.html.j2`.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from itertools import count
from typing import Any, TypeAlias

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from PIL import Image

from .. import plots

Chart: TypeAlias = Callable[[Axes, str], Markup]

ACCENT = "var(--accent)"
"""The first group's blue, lighter on a dark page."""

# Colours that no chart uses: each becomes a CSS colour of the page, so that charts follow light and
# dark mode.
_INK, _PAGE = "#010203", "#fcfdfe"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unweave",
    "text.parse_math": False,
    "font.size": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": _PAGE,
}


def rendered(
    template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **content: Any
) -> str:
    """The page that a template of this package makes of its content.

    Nothing that content lacks is an error: the template asks for it and leaves it out. All text is
    escaped.
    """
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(
            lambda name: resources.files("unweave").joinpath(name).read_text("utf-8")
        ),
    )
    environment.filters |= {"number": number, "integer": integer, **(filters or {})}
    return environment.get_template(template).render(**content)


@contextmanager
def charts() -> Iterator[Chart]:
    """While it lasts, Axes are drawn in the page's style; `chart(ax, label)` turns one into SVG,
    `label` being what a reader hears who does not see it.

    >>> with charts() as chart:
    ...     svg = chart(axes(300, 200), "An empty frame")
    >>> svg.startswith('<svg role="img" aria-label="An empty frame"')
    True
    """
    serial = count(1)
    with rc_context(_STYLE):
        yield lambda ax, label: _svg(ax, label, f"c{next(serial)}")


def number(value: Any, error: Any = None) -> str:
    """A number with the digits that its standard error supports, or three or four without one.

    >>> number(-85.1234, 0.31), number(-85.1234), number(0.123456), number(None)
    ('−85.1 ± 0.3', '−85.12', '0.123', '–')
    """
    if isinstance(value, list | tuple):
        value, error = value
    if value is None or not math.isfinite(value):
        return "–"
    if error is None or not math.isfinite(error) or error <= 0:
        text = (
            f"{value:.0f}"
            if abs(value) >= 1e4
            else f"{value:#.{3 + (abs(value) >= 10)}g}".rstrip(".")
        )
    else:
        first = math.floor(math.log10(error))
        digits = min(
            max(0, -first + (error < 2 * 10**first)), 4
        )  # an error of 0.1x keeps one more digit
        text = f"{round(value, digits) + 0.0:.{digits}f} ± {error:.{digits}f}"  # + 0.0: no −0
    return text.replace("-", "−")


def integer(value: Any) -> str:
    """A whole number in groups of three digits."""
    return f"{int(value):,}".replace(",", "\u202f")


def axes(width: float, height: float) -> Axes:
    """An Axes whose SVG is `width` by `height` CSS pixels: matplotlib counts 72 to the inch."""
    return Figure(figsize=(width / 72, height / 72), layout="constrained").add_subplot()


def _svg(ax: Axes, label: str, key: str) -> Markup:
    """A chart as inline SVG in the page's own font and colours; `key` keeps its ids apart from
    other charts'.
    """
    buffer = io.StringIO()
    figure: Any = ax.get_figure()
    figure.savefig(buffer, format="svg", transparent=True, dpi=180, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    width, box = re.search(r'width="([\d.]+)pt".*?(viewBox="[^"]*")', svg).groups()  # type: ignore[union-attr]
    body = svg[svg.index(">") + 1 :].replace("xlink:href", "href")
    body = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{key}-", body)
    # matplotlib writes the font as one shorthand or, from 3.11 on, as properties: keep size and
    # weight, drop the family
    body = re.sub(r"font: (?:(\d+) )?([\d.]+px) [^;\"]*", r"font-size: \2; font-weight: \1", body)
    body = re.sub(r"font-family: [^;\"]*;? ?|; font-weight: (?=[;\"])", "", body)
    body = (
        body.replace(_INK, "currentColor")
        .replace(_PAGE, "var(--page)")
        .replace(plots.GROUP_COLORS[0], ACCENT)
    )
    head = f'<svg role="img" aria-label="{escape(label)}" {box} style="--wide:{width}px;width:{width}px">'
    return Markup(head + re.sub(r"\s*\n\s*", "\n", body))


def png(picture: np.ndarray) -> dict[str, Any]:
    """A picture for an <img>: its data URI and its size."""
    buffer = io.BytesIO()
    imsave(buffer, picture, format="png", metadata={"Software": "unweave"})
    return _image(buffer, picture)


def film(pictures: Sequence[np.ndarray], rate: float) -> dict[str, Any]:
    """Pictures of one size as a film for an <img>, an animated PNG that loops, `rate` of them a
    second.
    """
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(picture) for picture in pictures]
    first.save(
        buffer, format="PNG", save_all=True, append_images=others, duration=1000 / rate, loop=0
    )
    return _image(buffer, pictures[0])


def _image(buffer: io.BytesIO, picture: np.ndarray) -> dict[str, Any]:
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"src": uri, "height": picture.shape[0], "width": picture.shape[1]}
