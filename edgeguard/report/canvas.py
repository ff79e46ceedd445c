"""What the attack's figures share: a page without a display, plain axes, and the file that they are written to."""

import io
from pathlib import Path
from typing import Any, Literal

from edgeguard.runtime.files import write_bytes

COLOURS = ("#1b4f72", "#d68910", "#922b21", "#117864", "#6c3483", "#2e86c1", "#797d7f")
GRID = "#ecf0f1"


def blank(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Any:
    """A white figure of that many inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Any) -> None:
    """Only the axes that carry a scale, beneath what is drawn."""
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)


def plain_numbers(axis: Any) -> None:
    """Round numbers along a logarithmic axis instead of powers: within a decade 1, 1.5, 2, 3, 5, 7, within three 1, 2,
    5, and beyond 1, 10, 100.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    steps = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5) if high < 1000 * low else (1,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if 1e-3 <= value < 1e6 else f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> None:
    """Write a PNG. Raises InputError when the file cannot be written."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())
