"""A witness file is believed only where the file, judged anew, bears out every claim in it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeguard.attacks.witnesses import (
    ANY_WRONG,
    Replay,
    Witnesses,
    is_fooled,
    is_right,
    load_witnesses,
    narrowest_band,
    norm_above,
    replay,
    save_witnesses,
)
from edgeguard.errors import InputError
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import OnnxModel, open_model

T, RATE = 300, 300.0
CLASSES = ("N", "A", "O")
METADATA = ModelMetadata(classes=CLASSES, sampling_rate=RATE, window=T, unit="uV")


def write_file(path: Path, *, bias: float = 0.0, metadata: ModelMetadata = METADATA) -> Path:
    """logits = (bias, sum of the first third, sum of the second third), for the classes N, A, O."""
    weight = np.zeros((T, 3), np.float32)
    weight[: T // 3, 1] = weight[T // 3 : 2 * T // 3, 2] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["ecg"], ["rows"]),
            helper.make_node("Gemm", ["rows", "weight", "bias"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, T])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([bias, 0, 0], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, metadata.to_props())
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    return open_model(write_file(tmp_path_factory.mktemp("model") / "m.onnx"))


@pytest.fixture(scope="module")
def witnesses(model: OnnxModel) -> Witnesses:
    """Three examples from four tasks: N made A by a tie, N made O on purpose, A made N in a record with padding.

    The perturbations are smooth bumps of whole microvolts; the nearest in L-inf is the nearest in L2 but for the first.
    """
    original = np.zeros((3, T), np.float32)
    original[:2, 100] = -100  # never O
    original[:2, 0] = -4  # class N, and not A, by 4 uV
    original[2, 10:60] = 4
    adversarial = original.copy()
    adversarial[0, 5] += 4
    adversarial[1, 100:200] += 2
    adversarial[2, 10:60] -= 4
    linf = adversarial.copy()
    linf[0] = original[0]
    linf[0, 10:14] += 1
    return Witnesses(
        attack="boundary",
        settings=json.dumps({"smoothing": 41}),
        model_sha256=model.sha256,
        classes=CLASSES,
        sampling_rate=RATE,
        budget=100,
        seed=0,
        fingerprint="f" * 64,
        rail_uv=32767.0,
        eps_uv=None,
        tasks=("R0", "R1", "R2", "R3"),
        ledger=np.array([100, 40, 100, 7]),
        rows=np.array([0, 2, 3]),
        labels=np.array([0, 0, 1]),
        targets=np.array([ANY_WRONG, 2, ANY_WRONG]),
        left=np.array([0, 0, 10]),
        length=np.array([T, T, 50]),
        original=original,
        adversarial=adversarial,
        adversarial_linf=linf,
        l2_uv=np.array([4, 20, np.sqrt(50 * 16)]),
        linf_uv=np.array([1.0, 2, 4]),
        found_at=np.array([100, 99, 1]),
        band_hz=np.full(3, np.nan),
    )


def failing(found: Replay) -> list[tuple[str, list[str]]]:
    assert found.holds == (found.failures == [])
    return found.failures


def changed(witnesses: Witnesses, name: str, row: Any, value: Any) -> Witnesses:
    """One element, or row, of one array set to another value."""
    array = getattr(witnesses, name).copy()
    array[row] = value
    return replace(witnesses, **{name: array})


def test_true_claims_hold(witnesses: Witnesses, model: OnnxModel):
    found = replay(witnesses, model)
    assert found.holds and found.same_file and found.failures == [] and found.names == ["R0", "R2", "R3"]
    claims = {check.name: check.held for check in found.checks}
    assert claims["eps"] is None and claims["band"] is None
    assert all(held is None or (held.shape == (3,) and held.all()) for held in claims.values())


def test_a_file_gives_back_what_was_saved(witnesses: Witnesses, tmp_path: Path):
    path = tmp_path / "w.npz"
    save_witnesses(path, replace(witnesses, eps_uv=5.0, rail_uv=None))
    read = load_witnesses(path)
    for field in fields(Witnesses):
        before, after = getattr(replace(witnesses, eps_uv=5.0, rail_uv=None), field.name), getattr(read, field.name)
        assert type(before) is type(after), field.name
        equal = np.array_equal(before, after, equal_nan=field.name == "band_hz")
        assert equal and getattr(before, "dtype", None) == getattr(after, "dtype", None), field.name
    with np.load(path, allow_pickle=False) as stored:
        assert stored["original"].dtype == np.int16 and str(stored["unit"]) == "uV"
    save_witnesses(path, changed(witnesses, "adversarial", (0, 5), 0.25))
    assert load_witnesses(path).adversarial[0, 5] == 0.25


def test_an_attack_that_found_nothing_is_a_file_too(witnesses: Witnesses, model: OnnxModel, tmp_path: Path):
    per_example = [field.name for field in fields(Witnesses) if len(np.shape(getattr(witnesses, field.name))) > 0]
    empty = {name: getattr(witnesses, name)[:0] for name in per_example if name not in ("classes", "tasks", "ledger")}
    for nothing in (replace(witnesses, **empty), replace(witnesses, **empty, tasks=(), ledger=np.zeros(0, np.int64))):
        save_witnesses(tmp_path / "w.npz", nothing)
        found = replay(load_witnesses(tmp_path / "w.npz"), model)
        assert found.holds and found.names == []


TAMPERINGS: dict[str, tuple[Callable[[Witnesses], Witnesses], list[tuple[str, list[str]]]]] = {
    "no example": (
        lambda w: replace(w, adversarial=w.original, l2_uv=np.zeros(3)),
        [(name, ["fools"]) for name in ("R0", "R2", "R3")],
    ),
    "the L-inf point fools nobody": (
        lambda w: changed(changed(w, "adversarial_linf", (1, slice(100, 200)), -1), "linf_uv", 1, 99),
        [("R2", ["fools"])],
    ),
    "one microvolt short": (
        lambda w: changed(changed(w, "adversarial", (0, 5), 3), "l2_uv", 0, 3),
        [("R0", ["fools"])],
    ),
    "fools, but not as the target": (
        lambda w: changed(w, "targets", 1, 1),
        [("R2", ["fools"])],
    ),
    "was wrong anyway": (lambda w: changed(w, "labels", 0, 2), [("R0", ["original"])]),
    "half a code": (
        lambda w: changed(changed(w, "adversarial", (0, 5), 4.5), "l2_uv", 0, 4.5),
        [("R0", ["codes"])],
    ),
    "an original between codes": (
        lambda w: changed(changed(w, "original", (0, 0), -4.5), "l2_uv", 0, np.hypot(4, 0.5)),
        [("R0", ["codes"])],
    ),
    "touches the padding": (
        lambda w: changed(changed(w, "adversarial", (2, 9), -3), "l2_uv", 2, np.sqrt(809)),
        [("R3", ["padding"])],
    ),
    "claims less padding than it touches": (lambda w: changed(w, "length", 0, 5), [("R0", ["padding"])]),
    "beyond the rails": (
        lambda w: changed(changed(w, "adversarial", (0, 5), 40000), "l2_uv", 0, 40000),
        [("R0", ["rails"])],
    ),
    "further than stated": (lambda w: changed(w, "l2_uv", 1, 19.9), [("R2", ["distances"])]),
    "nearer than stated": (lambda w: changed(w, "linf_uv", 2, 4.1), [("R3", ["distances"])]),
    "beyond eps": (
        lambda w: replace(w, eps_uv=3.0),
        [("R0", ["eps"]), ("R3", ["eps"])],
    ),
    "found after the last query": (lambda w: changed(w, "found_at", 1, 101), [("R2", ["queries"])]),
    "found before the first": (lambda w: changed(w, "found_at", 1, 0), [("R2", ["queries"])]),
    "more queries than allowed": (lambda w: changed(w, "ledger", 3, 101), [("R3", ["queries"])]),
    "a smaller budget": (lambda w: replace(w, budget=99), [("R0", ["queries"]), ("R2", ["queries"])]),
    "not smooth": (
        lambda w: changed(changed(changed(w, "adversarial", (0, 5), 100), "l2_uv", 0, 100), "band_hz", 0, 15.0),
        [("R0", ["band"])],
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_caught(witnesses: Witnesses, model: OnnxModel, name: str):
    tamper, expected = TAMPERINGS[name]
    assert failing(replay(tamper(witnesses), model)) == expected


def test_what_the_record_itself_reaches_is_within_the_rails(witnesses: Witnesses, model: OnnxModel):
    """R0 and R2 stay below their own 100 uV, R3 below its own 4: a rail of 3 uV forbids none of them."""
    assert replay(replace(witnesses, rail_uv=3.0), model).holds


def test_another_file_is_judged_and_said(witnesses: Witnesses, tmp_path: Path):
    found = replay(witnesses, open_model(write_file(tmp_path / "other.onnx", bias=1.0)))
    assert not found.same_file
    assert failing(found) == [("R0", ["fools"])]  # only the tie needed the very file


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (replace(METADATA, classes=("A", "N", "O")), "classes A,N,O, the witnesses have N,A,O"),
        (replace(METADATA, sampling_rate=250.0), "sampling rate in Hz 250.0, the witnesses have 300.0"),
    ],
)
def test_a_file_for_other_records_is_refused(
    witnesses: Witnesses, tmp_path: Path, metadata: ModelMetadata, reason: str
):
    with pytest.raises(InputError, match=reason):
        replay(witnesses, open_model(write_file(tmp_path / "m.onnx", metadata=metadata)))
    shorter = replace(witnesses, original=witnesses.original[:, 1:])
    with pytest.raises(InputError, match="windows of samples 300, the witnesses have 299"):
        replay(shorter, open_model(write_file(tmp_path / "m.onnx")))


def rewrite(path: Path, **changes: np.ndarray | None) -> None:
    """Replace arrays of an .npz; None leaves one out."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", np.array("edgeguard.witnesses/1")),
        ("unit", np.array("mV")),
        ("settings", np.array("[]")),
        ("labels", np.array([0, 0, 3])),
        ("labels", np.array([0.0, 0, 1])),
        ("labels", np.array([0, 0])),
        ("targets", np.array([-2, 2, -1])),
        ("targets", np.array([0, 2, -1])),
        ("rows", np.array([0, 2, 4])),
        ("left", np.array([0, 0, 251])),
        ("left", np.array([-1, 0, 10])),
        ("length", np.array([0, T, 50])),
        ("original", np.full((3, T), np.nan)),
        ("adversarial", np.zeros((3, T - 1))),
        ("adversarial", np.full((3, T), "x")),
        ("budget", np.array([100])),
        ("budget", np.array("many")),
        ("classes", np.array([1, 2, 3])),
        *((field.name, None) for field in fields(Witnesses)),
    ],
)
def test_damage_is_named(witnesses: Witnesses, tmp_path: Path, name: str, value: np.ndarray | None):
    path = tmp_path / "w.npz"
    save_witnesses(path, witnesses)
    rewrite(path, **{name: value})
    with pytest.raises(InputError, match=rf"w\.npz: no witnesses of attack-onnx \(.*{name[:4]}.*\); write them anew"):
        load_witnesses(path)


class Trap:
    """Says so when a pickle runs it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('the pickle ran')",)


def test_pickles_are_refused(witnesses: Witnesses, tmp_path: Path):
    path = tmp_path / "w.npz"
    save_witnesses(path, witnesses)
    trap = np.empty(3, object)
    trap[:] = [Trap()] * 3
    rewrite(path, labels=trap)
    with pytest.raises(InputError, match="write them anew"):
        load_witnesses(path)
    np.save(tmp_path / "w.npy", trap, allow_pickle=True)
    with pytest.raises(InputError, match="write them anew"):
        load_witnesses(tmp_path / "w.npy")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text", b"\x80\x04K\x01."])
def test_another_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.npz: no witnesses of attack-onnx"):
        load_witnesses(path)
    with pytest.raises(InputError, match="not found"):
        load_witnesses(tmp_path / "none.npz")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_file_is_refused_or_unharmed(witnesses: Witnesses, tmp_path: Path, data: st.DataObject):
    """Any byte changed, or the end cut off: InputError, or the content is what it was."""
    path = tmp_path / "w.npz"
    save_witnesses(path, witnesses)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = load_witnesses(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        for field in fields(Witnesses):
            assert np.array_equal(
                getattr(read, field.name), getattr(witnesses, field.name), equal_nan=field.name == "band_hz"
            ) or (getattr(read, field.name) is None and getattr(witnesses, field.name) is None)


def test_ties_and_numbers_that_are_none():
    logits = np.array([[2, 1, 0], [2, 2, 0], [1, 2, 0], [np.nan, 1, 0], [0, np.nan, 1], [np.inf, 0, 0]], np.float32)
    labels = np.zeros(6, np.int64)
    assert is_right(logits, labels).tolist() == [True, False, False, False, False, True]
    assert is_fooled(logits, labels, np.full(6, ANY_WRONG)).tolist() == [False, True, True, True, True, False]
    assert is_fooled(logits[:3], labels[:3], np.full(3, 1)).tolist() == [False, True, True]
    assert is_fooled(logits[:3], labels[:3], np.full(3, 2)).tolist() == [False, False, False]


@given(st.integers(1, 60), st.floats(0, 150), st.integers(0, 2**32 - 1))
def test_norm_above_is_the_orthonormal_dct(n: int, hz: float, seed: int):
    signal = np.random.default_rng(seed).normal(0, 1, n)
    k, t = np.arange(n)[:, None], np.arange(n)
    basis = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * t + 1) / (2 * n))
    basis[0] /= np.sqrt(2)
    modes = basis @ signal
    expected = np.linalg.norm(modes[np.arange(n) * RATE / (2 * n) > hz])
    assert norm_above(signal, hz, RATE) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("hz", "amplitude", "held"), [(10, 40, True), (10, 3, True), (12, 40, True), (20, 40, False), (20, 3, False)]
)
def test_the_band_claim_allows_for_rounding_and_cut_windows_only(
    witnesses: Witnesses, model: OnnxModel, hz: float, amplitude: float, held: bool
):
    """A wave of whole codes below 15 Hz passes wherever the window cuts it, one above does not."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        wave = amplitude * np.sin(2 * np.pi * (hz * np.arange(T) / RATE + rng.uniform()))
        points = witnesses.original.copy()
        points[0] = np.rint(points[0] + wave)
        claimed = changed(replace(witnesses, adversarial=points, adversarial_linf=points), "band_hz", 0, 15.0)
        check = next(check for check in replay(claimed, model).checks if check.name == "band")
        assert check.held is not None and check.held.tolist() == [held, True, True]


def test_the_narrowest_band_is_the_first_doubling_that_holds_all_signals():
    slow, fast = (np.rint(40 * np.sin(2 * np.pi * hz * np.arange(3000) / RATE)) for hz in (10, 50))
    assert narrowest_band([slow], 15, RATE) == 15
    assert narrowest_band([slow, fast], 15, RATE) == 60
    assert narrowest_band([slow, slow + fast / 10], 15, RATE) == 15  # 1 % of the power, which a cut leaks too


def test_replay_needs_no_torch(witnesses: Witnesses, model: OnnxModel, tmp_path: Path):
    path = tmp_path / "w.npz"
    save_witnesses(path, witnesses)
    program = (
        "import contextlib, sys\nfrom edgeguard.cli import main\n"
        "try: main(['verify', *sys.argv[1:]])\n"
        "except SystemExit as stop: code = stop.code\n"
        "print(code, [m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, path, model.path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
