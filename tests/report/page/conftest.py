"""A page of the example audit, as text and as a tree."""

import pytest
from audits import example_audit
from pages import Node, read, record

from edgeguard.evaluation.audit.result import Audit
from edgeguard.report.page.page import render


@pytest.fixture(scope="session")
def audit() -> Audit:
    """The example, with a second record that is longer than what is shown of it."""
    example = example_audit()
    return example_audit(pictures=(*example.pictures, record(20.0, left=100)))


@pytest.fixture(scope="session")
def html(audit: Audit) -> str:
    return render(audit)


@pytest.fixture(scope="session")
def page(html: str) -> Node:
    return read(html)
