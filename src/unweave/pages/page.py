"""The frame of every page: its template, charts as inline SVG, and numbers as they are read.

Charts have the page's own colours. A page is one file that asks for nothing outside itself. Its
template extends `page.html.j2`.
"""

from __future__ import annotations

import base64
import io
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
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


def rendered(template: str, **content: Any) -> str:
    """Return the page that a template of this package makes of its content.

    Content may be missing: the template asks for it and leaves it out. All text is escaped.
    """
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_template),
    )
    environment.filters |= {
        "number": number,
        "integer": integer,
        "circled": circled,
        "duration": duration,
    }
    return environment.get_template(template).render(**content)


def _template(name: str) -> str:
    return resources.files("unweave").joinpath(name).read_text("utf-8")


@contextmanager
def charts() -> Iterator[Chart]:
    """Draw Axes in the page's style while the context lasts.

    The context's value is a function `chart(ax, label)` that turns Axes into SVG; a reader who
    does not see it hears `label`.

    >>> with charts() as chart:
    ...     svg = chart(axes(300, 200), "An empty frame")
    >>> svg.startswith('<svg role="img" aria-label="An empty frame"')
    True
    """
    serial = count(1)
    with rc_context(_STYLE):
        yield lambda ax, label: _svg(ax, label, f"c{next(serial)}")


# -- numbers and words -----------------------------------------------------------------------------


def number(value: Any, error: Any = None) -> str:
    """Return a number with the digits that its standard error supports, three or four without one.

    >>> number(-85.1234, 0.31), number(-85.1234), number(0.123456), number(None)
    ('−85.1 ± 0.3', '−85.12', '0.123', '–')
    """
    if isinstance(value, list | tuple):
        value, error = value
    if value is None or not math.isfinite(value):
        return "–"
    if error is None or not math.isfinite(error) or error <= 0:
        return _signed(_significant(value))
    first = math.floor(math.log10(error))
    digits = -first
    if error < 2 * 10**first:
        digits += 1  # an error of 0.1x keeps one more digit
    digits = max(0, min(digits, 4))
    rounded = round(value, digits) + 0.0  # + 0.0: no −0
    return _signed(f"{rounded:.{digits}f} ± {error:.{digits}f}")


def _significant(value: float) -> str:
    if abs(value) >= 1e4:
        return f"{value:.0f}"
    digits = 4 if abs(value) >= 10 else 3
    return f"{value:#.{digits}g}".rstrip(".")


def _signed(text: str) -> str:
    return text.replace("-", "−")


def integer(value: Any) -> str:
    """Return a whole number in groups of three digits."""
    return f"{int(value):,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """Return a time in the two units that suit it.

    >>> duration(312.5), duration(7), duration(8000)
    ('5 min 12 s', '7 s', '2 h 13 min')
    """
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def circled(text: str) -> Markup:
    """Return a text with its circled letters as HTML.

    Few fonts have ⓘ and Ⓐ, and ⓘⓘ is one sign of the paper, not two.
    """
    sign = Markup('<span class="sign">{}</span>')
    parts: list[str] = []
    for i, part in enumerate(re.split(r"(ⓘ+|[①-⓿])", text)):
        is_sign = i % 2 == 1
        parts.append(sign.format(unicodedata.normalize("NFKC", part)) if is_sign else part)
    return Markup("").join(parts)


# -- charts and pictures ---------------------------------------------------------------------------


def axes(width: float, height: float) -> Axes:
    """Return Axes whose SVG is `width` by `height` CSS pixels: matplotlib counts 72 to the inch."""
    return figure(width, height).add_subplot()


def figure(width: float, height: float) -> Figure:
    """Return a figure of `width` by `height` CSS pixels."""
    inches = (width / 72, height / 72)
    return Figure(figsize=inches, layout="constrained")


def _svg(ax: Axes, label: str, key: str) -> Markup:
    """Return a chart as inline SVG in the page's font and colours, its ids kept apart by `key`."""
    buffer = io.StringIO()
    whole: Any = ax.get_figure()
    with warnings.catch_warnings():
        # a name may have letters of any script: the page's fonts show them, not matplotlib's
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        whole.savefig(buffer, format="svg", transparent=True, dpi=180, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    width, box = re.findall(r'width="([\d.]+)pt".*?(viewBox="[^"]*")', svg)[0]
    _, _, body = svg.partition(">")
    body = body.replace("xlink:href", "href")
    body = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{key}-", body)
    # matplotlib writes the font as one shorthand or, from 3.11 on, as properties: keep size and
    # weight, drop the family
    body = re.sub(r"font: (?:(\d+) )?([\d.]+px) [^;\"]*", r"font-size: \2; font-weight: \1", body)
    body = re.sub(r"font-family: [^;\"]*;? ?|; font-weight: (?=[;\"])", "", body)
    body = body.replace(_INK, "currentColor").replace(_PAGE, "var(--page)")
    body = re.sub(r"\s*\n\s*", "\n", accented(body))
    size = f"--wide:{width}px;width:{width}px"
    head = f'<svg role="img" aria-label="{escape(label)}" {box} style="{size}">'
    return Markup(head + body)


def accented(colors: str) -> str:
    """Return colours with the first group's blue as the page has it in light and dark mode."""
    return colors.replace(plots.GROUP_COLORS[0], ACCENT)


def png(picture: np.ndarray) -> dict[str, Any]:
    """Return a picture for an <img>: its data URI and its size."""
    buffer = io.BytesIO()
    imsave(buffer, picture, format="png", metadata={"Software": "unweave"})
    return _image(buffer, picture)


def film(pictures: Sequence[np.ndarray], rate: float) -> dict[str, Any]:
    """Return pictures of one size as an animated PNG for an <img>, `rate` of them a second."""
    buffer = io.BytesIO()
    first, *others = map(Image.fromarray, pictures)
    first.save(
        buffer, format="PNG", save_all=True, append_images=others, duration=1000 / rate, loop=0
    )
    return _image(buffer, pictures[0])


def _image(buffer: io.BytesIO, picture: np.ndarray) -> dict[str, Any]:
    encoded = base64.b64encode(buffer.getvalue()).decode()
    height, width = picture.shape[:2]
    return {"src": f"data:image/png;base64,{encoded}", "height": height, "width": width}
