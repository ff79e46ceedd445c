"""What an audit demands: the defaults, and a user's own keys over them."""

from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.thresholds import DEFAULTS, Thresholds, load_thresholds


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def test_the_defaults_by_size() -> None:
    sizes = {size: load_thresholds(size=size) for size in ("quick", "default", "full")}
    assert [one.margin_points for one in sizes.values()] == [5.0, 2.0, 2.0]
    assert [one.eps_uv for one in sizes.values()] == [(10.0,), (10.0, 25.0, 50.0), (10.0, 25.0, 50.0, 100.0)]
    default = sizes["default"]
    assert default.margin == 0.02 and default.robustness_loss == 0.15 and default.abstention_accuracy == 0.9
    assert (default.stream_equal, default.stream_needed) == (True, False)
    for undemanded in ("clean_accuracy", "clean_f1", "af_sensitivity", "attacked_accuracy", "calibration_error"):
        assert getattr(default, undemanded) is None


def test_every_key_stands_in_the_file_with_its_reason() -> None:
    lines = DEFAULTS.read_text().splitlines()
    for key in Thresholds.__dataclass_fields__:
        (at, *_) = (i for i, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{key} ="))
        while lines[at].removeprefix("# ").partition(" =")[0] in Thresholds.__dataclass_fields__:
            at -= 1
        assert lines[at].startswith("#") and len(lines[at]) > 20


def test_a_commented_key_may_be_taken_as_it_stands(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in DEFAULTS.read_text().splitlines()]
    keys = [line for line in lines if line.partition(" =")[0] in Thresholds.__dataclass_fields__]
    made = load_thresholds(written(tmp_path, "\n".join(dict.fromkeys(keys[:14]))))
    assert made.af_sensitivity == 0.75 and made.calibration_error == 0.1


def test_own_keys_win_and_a_table_wins_in_its_size(tmp_path: Path) -> None:
    own = written(tmp_path, "margin_points = 3\nclean_f1 = 0.7\n[quick]\nclean_f1 = 0.6\neps_uv = [5]\n")
    quick, default = load_thresholds(own, size="quick"), load_thresholds(own, size="default")
    assert (quick.margin_points, default.margin_points) == (3, 3)
    assert (quick.clean_f1, default.clean_f1) == (0.6, 0.7)
    assert (quick.eps_uv, default.eps_uv) == ((5.0,), (10.0, 25.0, 50.0))
    assert default.to_json()["eps_uv"] == [10.0, 25.0, 50.0] and default.to_json()["clean_f1"] == 0.7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("margin = 2", "margin: unknown; did you mean margin_points?"),
        ("wavelength = 2", "wavelength: unknown; the keys are eps_uv"),
        ("[quick]\nmargn_points = 2", "quick.margn_points: unknown; did you mean margin_points?"),
        ("margin_points = 0", "margin_points = 0: points above 0 and below 100 needed"),
        ("margin_points = '2'", "margin_points = '2': points above 0"),
        ("robustness_loss_points = 101", "points from 0 to 100"),
        ("clean_accuracy = 1.01", "clean_accuracy = 1.01: a share from 0 to 1"),
        ("clean_accuracy = true", "a share from 0 to 1"),
        ("clean_accuracy = nan", "a share from 0 to 1"),
        ("eps_uv = []", "rising microvolts"),
        ("eps_uv = [25, 10]", "rising microvolts"),
        ("eps_uv = [0, 10]", "rising microvolts"),
        ("eps_uv = 10", "rising microvolts"),
        ("records = 0", "a whole number of at least 1"),
        ("records = 1.5", "a whole number of at least 1"),
        ("stream_needed = 1", "true or false"),
        ("abstention_accuracy = 1", "above 0 and below 1"),
        ("quick = 3", "quick is a table"),
        ("margin_points", "is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as refused:
        load_thresholds(path)
    assert str(refused.value).startswith(str(path)) and said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        load_thresholds(tmp_path / "none.toml")
