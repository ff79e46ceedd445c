"""How much an audit looks at: a few minutes, half an hour, or hours."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What is computed.

    Attributes:
        records: judged, at most; None: all of the test part.
        profile: white-box portfolio at the smallest budget; `strict` at the others.
        attacked, queries: records and labels of the black-box attack.
        checked: records of the masking checks.
        proof_hops: decisions on which the stream is held against its window file.
        stream_seconds: of the synthetic day that is played.
        calibration_records: whose confidence chooses temperature and abstention.
        pictures: attacked records to draw, at most.
    """

    records: int | None
    profile: str
    attacked: int
    queries: int
    checked: int
    proof_hops: int
    stream_seconds: float
    calibration_records: int
    pictures: int


SIZES: dict[str, Size] = {
    "quick": Size(192, "strict", 16, 300, 32, 200, 1_200, 384, 2),
    "default": Size(512, "strict", 64, 1_000, 64, 1_000, 7_200, 768, 4),
    "full": Size(None, "full", 128, 2_000, 64, 10_000, 86_400, 768, 4),
}
