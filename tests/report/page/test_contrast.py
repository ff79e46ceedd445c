"""Every colour that says something against what it stands on, by WCAG 2.1, from the style sheet itself."""

import re
from pathlib import Path

import pytest

from edgeguard.report.page import page as page_module

CSS = Path(page_module.__file__).with_name("page.css").read_text(encoding="utf-8")
Colour = tuple[float, float, float]


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+):\s*([^;]+);", block))


LIGHT = variables(CSS[CSS.index(":root {") : CSS.index("}")])
_dark = CSS[CSS.index("prefers-color-scheme: dark") :]
DARK = {**LIGHT, **variables(_dark[: _dark.index("}")])}
THEMES = {"light": LIGHT, "dark": DARK}


def colour(text: str) -> Colour:
    if text.startswith("#"):
        return tuple(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]
    red, green, blue = (int(part) / 255 for part in text.split())
    return red, green, blue


def luminance(shown: Colour) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shown]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TONES = ("holds", "fails", "undecided", "screened")
TEXT = [
    *((name, ground) for name in ("ink", "muted", "link") for ground in ("ground", "surface")),
    *((tone, f"{tone}-tint") for tone in TONES),
    *((name, f"{tone}-tint") for name in ("ink", "muted", "link") for tone in TONES),
    ("surface", "fails"),
    ("surface", "undecided"),
]
MARKS = [
    *((f"s{i}", "surface") for i in range(1, 6)),
    *((tone, "surface") for tone in TONES),
    ("before", "paper"),
    ("after", "paper"),
    ("after", "ground"),
    ("muted", "ground"),
    ("heard", "truth"),
    ("heard", "surface"),
]


def test_white_on_black_is_21() -> None:
    assert contrast((1, 1, 1), (0, 0, 0)) == pytest.approx(21)
    assert contrast(colour("#777777"), colour("#ffffff")) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("name", "ground"), TEXT)
def test_text_is_legible(theme: str, name: str, ground: str) -> None:
    """AA: 4.5 to 1."""
    shown = THEMES[theme]
    assert contrast(colour(shown[name]), colour(shown[ground])) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("name", "ground"), MARKS)
def test_marks_are_seen(theme: str, name: str, ground: str) -> None:
    """AA for graphics: 3 to 1."""
    shown = THEMES[theme]
    assert contrast(colour(shown[name]), colour(shown[ground])) >= 3


@pytest.mark.parametrize("theme", THEMES)
def test_counts_are_legible_in_the_darkest_cell(theme: str) -> None:
    found = re.search(r"\.shaded \{ background: rgb\(var\(--heat\) / calc\(var\(--share\) \* ([\d.]+)\)\)", CSS)
    assert found is not None
    share, shown = float(found[1]), THEMES[theme]
    heat, surface = colour(shown["heat"]), colour(shown["surface"])
    mixed = tuple(share * h + (1 - share) * s for h, s in zip(heat, surface, strict=True))
    assert contrast(colour(shown["ink"]), mixed) >= 4.5  # type: ignore[arg-type]


def test_both_themes_name_the_same_colours() -> None:
    _block = _dark[: _dark.index("}")]
    assert set(variables(_block)) == set(LIGHT)


def test_every_variable_that_is_used_is_set() -> None:
    used = set(re.findall(r"var\(--([\w-]+)", CSS))
    assert used - {"c", "tone", "tint", "share", "least"} <= set(LIGHT)
    assert set(LIGHT) <= used
