"""A reader of HTML and of drawings that finds in them what a person or a browser would, and records to draw."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np

from edgeguard.evaluation.audit.result import Picture

VOID = {"meta", "link", "br", "hr", "img", "input"}


@dataclass
class Node:
    """An element, its attributes, what stands in it, in order."""

    tag: str
    attributes: dict[str, str]
    parent: "Node | None" = None
    content: list["Node | str"] = field(default_factory=list)

    def every(self, tag: str, **attributes: str) -> list["Node"]:
        """All below with that tag; `class_` asks for one class of several."""
        found = []
        for child in self.content:
            if isinstance(child, Node):
                if child.tag == tag and all(child.has(name, value) for name, value in attributes.items()):
                    found.append(child)
                found += child.every(tag, **attributes)
        return found

    def one(self, tag: str, **attributes: str) -> "Node":
        found = self.every(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag} {attributes}"
        return found[0]

    def has(self, name: str, value: str) -> bool:
        if name == "class_":
            return value in self.attributes.get("class", "").split()
        return self.attributes.get(name.replace("_", "-")) == value

    def within(self, tag: str) -> bool:
        return self.parent is not None and (self.parent.tag == tag or self.parent.within(tag))

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.content)


class _Builder(HTMLParser):
    """Fails where an element is left open or closed twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.at = Node("#", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.content.append(node)
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.at.content.append(Node(tag, {name: value or "" for name, value in attrs}, self.at))

    def handle_endtag(self, tag: str) -> None:
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.content.append(data)


def read(html: str) -> Node:
    """The tree of a well-formed page."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.at is builder.root
    return builder.root


def parse_svg(text: str) -> ElementTree.Element:
    """A drawing, or several side by side, as XML."""
    return ElementTree.fromstring(f"<root>{text}</root>")


def record(seconds: float = 30.0, *, rate: float = 300.0, left: int = 0, seed: int = 0, name: str = "A1") -> Picture:
    """A noisy record with weights, 10 uV of perturbation, and nothing regular to compress it by."""
    rng = np.random.default_rng(seed)
    length = round(seconds * rate)
    ecg = np.zeros(left + length + left, np.float32)
    ecg[left : left + length] = np.rint(rng.normal(0, 300, length))
    delta = np.zeros_like(ecg)
    delta[left : left + length] = rng.choice([-10.0, 10.0], length)
    weight = rng.random(len(ecg)).astype(np.float32)
    return Picture(
        record=name,
        true="N",
        attack="sap",
        eps_uv=10.0,
        clean_class="N",
        attacked_class="A",
        clean_probability=0.9,
        attacked_probability=0.6,
        sampling_rate=rate,
        left=left,
        length=length,
        ecg=ecg,
        adversarial=ecg + delta,
        clean_saliency=weight,
        attacked_saliency=weight[::-1].copy(),
    )
