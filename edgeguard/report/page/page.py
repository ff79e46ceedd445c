"""The report that people read: an audit as one HTML file that needs nothing beside it."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from edgeguard.evaluation.audit.result import Audit
from edgeguard.intended_use import INTENDED_USE, NOT_A_MEDICAL_DEVICE
from edgeguard.report.page.attacked import attacked
from edgeguard.report.page.banner import banner
from edgeguard.report.page.bill import bill
from edgeguard.report.page.black_box import black_box
from edgeguard.report.page.conditions import conditions
from edgeguard.report.page.confidence import confidence
from edgeguard.report.page.groups import groups
from edgeguard.report.page.proofs import ladder, masking
from edgeguard.report.page.provenance import provenance
from edgeguard.report.page.robustness import robustness
from edgeguard.report.page.stream import stream
from edgeguard.runtime.files import write_bytes

SECTIONS = (
    conditions,
    robustness,
    groups,
    attacked,
    black_box,
    masking,
    ladder,
    confidence,
    stream,
    bill,
    provenance,
)
"""In the order of the page."""


def write_report(audit: Audit, path: Path) -> None:
    """Write the page, atomically. Raises InputError when the file cannot be written."""
    write_bytes(path, render(audit).encode())


def render(audit: Audit) -> str:
    """The whole page as HTML, in one text: styles and drawings are in it, and it asks for nothing else."""
    return _template().render(
        banner=banner(audit),
        sections=[section(audit) for section in SECTIONS],
        audit=audit,
        intended_use=INTENDED_USE,
        no_medical_device=NOT_A_MEDICAL_DEVICE,
    )


@cache
def _template() -> Template:
    """Compiled once; escapes whatever is not Markup."""
    loader = FileSystemLoader(Path(__file__).parent)
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return templates.get_template("page.html.jinja")
