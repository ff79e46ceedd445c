"""Labels of other data sets by the names that a model has for them."""

from collections.abc import Mapping, Sequence

from edgeguard.errors import InputError


def parse_label_map(text: str | None) -> dict[str, str]:
    """{label of the data: class of the model} from `AFIB=A,SR=N`; empty for None.

    Raises InputError for another form, or a label that is named twice.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not (label and equals and name):
            raise InputError(f"--label-map {part.strip()}: give LABEL=CLASS pairs with commas, as in AFIB=A,SR=N")
        if label in found:
            raise InputError(f"--label-map: label {label} is named twice; keep one")
        found[label] = name
    return found


def check_label_map(label_map: Mapping[str, str], classes: Sequence[str]) -> None:
    """Raises InputError for a class that is none of the model's."""
    for label, name in label_map.items():
        if name not in classes:
            raise InputError(f"--label-map {label}={name}: {name} is none of {', '.join(classes)}; mend the map")
