"""An audit made by hand: small, complete, deterministic, and free of contradictions, for what reads audits.

Its figures are plausible, not measured. Every rate follows from a confusion matrix, every check from its figure, and
the verdict from the checks.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from edgeguard.evaluation.audit.result import (
    Abstention,
    Audit,
    BlackBox,
    Check,
    Confidence,
    ConfidenceBin,
    DataFacts,
    Decision,
    Group,
    ModelFacts,
    Picture,
    Provenance,
    QueryPoint,
    Rate,
    Score,
    Span,
    Stream,
    Survival,
    Verdict,
)
from edgeguard.evaluation.audit.verdict import decide, export_verdict, overall, robustness_verdict
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.masking_check import Check as MaskingCheck
from edgeguard.evaluation.paired import paired_difference

CLASSES = ("N", "A", "O", "~")
EPS_UV = (10.0, 50.0)
CLEAN = np.array([[429, 5, 11, 12], [4, 53, 8, 2], [66, 15, 127, 11], [1, 1, 0, 23]])
MARGIN = 0.02
THRESHOLDS: dict[str, Any] = {
    "eps_uv": list(EPS_UV),
    "margin_points": 100 * MARGIN,
    "robustness_loss_points": 15.0,
    "abstention_accuracy": 0.9,
    "black_box_share": 0.01,
    "stream_equal": True,
    "stream_needed": False,
    "records": 300,
    "class_records": 10,
    "clean_accuracy": 0.7,
    "clean_f1": 0.6,
    "af_sensitivity": None,
    "attacked_accuracy": 0.6,
    "calibration_error": 0.15,
}
_LOST = {"clean": 0.0, "pgd": 0.04, "sap": 0.03, "worst case": 0.06}
"""Share of the right answers that fall to an attack at the first budget; three times that at the other."""


def example_audit(**changes: Any) -> Audit:
    """The audit of an int8 file against its float form, on 768 records at two budgets; it survives.

    Args:
        changes: fields of `Audit` to set otherwise; where `checks` or `size` change, verdict and reasons follow unless
            given too.
    """
    audit = _complete()
    audit = replace(audit, **changes)
    return audit if "verdict" in changes else rejudged(audit)


def rejudged(audit: Audit) -> Audit:
    """The audit with the verdicts that its checks make."""
    export = export_verdict(audit.checks, size=audit.size, compared=audit.compared)
    robustness = robustness_verdict(audit.checks, size=audit.size, judged=audit.judged)
    decisive = overall(export, robustness, audit.required)
    return replace(audit, export=export, robustness=robustness, verdict=decisive.verdict, reasons=decisive.reasons)


def _complete() -> Audit:
    scores = _scores()
    survival = tuple(_survival(eps) for eps in EPS_UV)
    stream, confidence, black_box = _stream(), _confidence(), _black_box()
    checks = _checks(scores, survival, stream, confidence)
    empty = Verdict("survives", ())
    return Audit(
        verdict="survives",
        reasons=(),
        export=empty,
        robustness=empty,
        required=("export", "robustness"),
        compared=True,
        judged=True,
        size="default",
        profile="strict",
        model=ModelFacts(
            path="runs/adt-edge-m/adt-edge-m-int8.onnx",
            form="int8",
            sha256="5f" * 32,
            bytes=204_800,
            defense="adt",
            arch="edge-m",
            classes=CLASSES,
            sampling_rate=300.0,
            window=9000,
            input_step_uv=31.25,
            parent="a7" * 32,
            compared_with="fp32 runs/adt-edge-m/adt-edge-m-fp32.onnx",
        ),
        data=DataFacts(
            source="training2017.zip",
            fingerprint="c1" * 32,
            n=int(CLEAN.sum()),
            part="the test part of training2017.zip (768 records)",
            by_class=dict(zip(CLASSES, CLEAN.sum(1).tolist(), strict=True)),
        ),
        thresholds=THRESHOLDS,
        checks=checks,
        ladder=_ladder(),
        scores=scores,
        survival=survival,
        classes=_groups(CLASSES, CLEAN.sum(1).tolist(), np.diag(CLEAN).tolist()),
        snr=_groups(("below 10 dB", "10 to 20 dB", "above 20 dB"), (96, 300, 372), (60, 241, 331)),
        masking=_masking(),
        black_box=black_box,
        stream=stream,
        bill=_bill(),
        confidence=confidence,
        provenance=Provenance(
            command="edgeguard audit runs/adt-edge-m/adt-edge-m-int8.onnx --data training2017.zip --seed 0",
            date="2025-01-31T12:00:00+00:00",
            seed=0,
            versions={
                "edgeguard": "0.1.0",
                "python": "3.12.3",
                "numpy": "2.1.0",
                "onnx": "1.18.0",
                "onnxruntime": "1.22.0",
            },
            processor={"name": "Example CPU", "architecture": "x86_64", "flags": ["avx2", "avx512_vnni", "fma"]},
            seconds={"ladder": 4.2, "white-box": 181.0, "black-box": 64.5, "stream": 3.1, "confidence": 0.4},
        ),
        files={"report": "report.html", "witnesses": "witnesses.npz", "golden": "adt-edge-m-int8.golden.npz"},
        pictures=(_picture(),),
    )


def _attacked(form: str, attack: str, eps_uv: float) -> np.ndarray:
    """The clean confusion with a share of every class's right answers moved to the next class."""
    share = _LOST[attack] * (1 if eps_uv <= EPS_UV[0] else 3) + (0.004 if form == "int8" else 0.0)
    confusion = CLEAN.copy()
    for row in range(len(CLASSES)):
        moved = round(share * CLEAN[row, row])
        confusion[row, row] -= moved
        confusion[row, (row + 1) % len(CLASSES)] += moved
    return confusion


def _scores() -> tuple[Score, ...]:
    trials = [("clean", 0.0), *((attack, eps) for eps in EPS_UV for attack in ("pgd", "sap", "worst case"))]
    return tuple(
        Score(
            form=form,
            eps_uv=eps,
            attack=attack,
            accuracy=Rate(**accuracy_rate(confusion)),
            f1=Rate(**f1_rate(confusion)),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
        )
        for form in ("fp32", "int8")
        for attack, eps in trials
        for confusion in (_attacked(form, attack, eps),)
    )


def _survival(eps_uv: float) -> Survival:
    """Two records flip in favour of the exported form, and as many more against it as the confusions say."""
    n = int(CLEAN.sum())
    right = {form: int(np.trace(_attacked(form, "worst case", eps_uv))) for form in ("fp32", "int8")}
    reference, exported = np.arange(n) < right["fp32"], np.zeros(n, bool)
    exported[2 : right["fp32"]] = True
    exported[right["fp32"] : right["fp32"] + 2] = True
    exported[2 : 2 + right["fp32"] - right["int8"]] = False
    found = paired_difference(exported, reference)
    points = "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * found[key] for key in ("difference", "low", "high")))
    return Survival(
        eps_uv=eps_uv,
        verdict="survives",
        message=f"survives: worst case {points}, n = {n}, margin {100 * MARGIN:g} points",
        margin=MARGIN,
        difference=found["difference"],
        low=found["low"],
        high=found["high"],
        n=n,
        mcnemar_p=found["mcnemar_p"],
        table={
            "both_right": int((exported & reference).sum()),
            "only_reference": int((reference & ~exported).sum()),
            "only_exported": int((exported & ~reference).sum()),
            "both_wrong": int((~exported & ~reference).sum()),
        },
        needed=189,
    )


def _checks(
    scores: tuple[Score, ...],
    survival: tuple[Survival, ...],
    stream: Stream,
    confidence: Confidence,
) -> tuple[Check, ...]:
    found = {(score.attack, score.eps_uv): score for score in scores if score.form == "int8"}
    clean, attacked = found["clean", 0.0], found["worst case", EPS_UV[0]]
    sensitivity = Rate(**rate(53, 67))
    n = clean.accuracy.n

    def decided(name: str, section: str, figure: Rate, bar: float, sense: str, what: str) -> Check:
        holds = decide(figure.value, bar, sense=sense, low=figure.low, high=figure.high)
        shown = f"{what} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}], n = {figure.n}"
        reason = f"{shown}; at {sense} {bar:g} demanded"
        return Check(name, section, holds, figure.value, bar, reason, None, sense, figure.low, figure.high)

    return (
        Check(
            "failing_rungs", "ladder", True, 0, 0, "6 rungs of the ladder hold, 0 fail, 1 do not apply", None, "most"
        ),
        Check("records", "data", True, n, 300, f"{n} records, at least 300 demanded", None, "least"),
        decided("clean_accuracy", "clean", clean.accuracy, 0.7, "least", "accuracy on clean records"),
        decided("clean_f1", "clean", clean.f1, 0.6, "least", "macro F1 on clean records"),
        Check("af_sensitivity", "clean", None, sensitivity.value, None, "sensitivity for A 0.791; nothing is demanded"),
        decided("attacked_accuracy", "white-box", attacked.accuracy, 0.6, "least", "accuracy in the worst case"),
        *(
            Check(
                f"survival_{one.eps_uv:g}",
                "survival",
                True,
                one.difference,
                -MARGIN,
                one.message,
                None,
                "least",
                one.low,
                one.high,
            )
            for one in survival
        ),
        Check("black_box_alarm", "black-box", True, 0.0, 0.01, "0 of 64 records fall to labels alone", None, "most"),
        *(
            Check(
                f"masking_{one.name}",
                "masking",
                one.holds,
                one.figure,
                None if one.holds is None else one.bar,
                f"masking, {one.name}: {one.message}",
            )
            for one in _masking()
        ),
        Check(
            "stream_equal",
            "stream",
            True,
            stream.equal / stream.hops,
            1.0,
            "every hop is equal in every bit",
            None,
            "least",
        ),
        decided(
            "calibration_error", "confidence", confidence.expected_error, 0.15, "most", "expected calibration error"
        ),
    )


def _ladder() -> tuple[dict[str, Any], ...]:
    rungs = [
        ("checker", True, 0, "faults that onnx's full check finds", ""),
        (
            "torch_fp32",
            None,
            None,
            "largest relative logit difference, torch and float graph",
            "the run is not beside it",
        ),
        ("census", True, 0, "convolutions that ONNX Runtime executes in float", "QLinearConv 15, Gemm 1"),
        ("host_form", True, 1.0, "share of 64 windows with bit-equal logits, S8S8 and U8S8; every class equal", ""),
        ("twin", True, 1.0, "share of 64 windows with bit-equal logits, twin and ONNX Runtime", ""),
        ("saturation", True, 30118, "largest sum of two 8-bit products; int16 ends at 32767", "proven safe"),
        ("golden", True, 1.0, "share of golden rows that the file gives bit for bit", "8 rows"),
    ]
    keys = ("name", "holds", "figure", "meaning", "note")
    return tuple(dict(zip(keys, rung, strict=True)) for rung in rungs)


def _groups(names: tuple[str, ...], counts: Any, right: Any) -> tuple[Group, ...]:
    return tuple(
        Group(
            name=name,
            n=n,
            clean=Rate(**rate(good, n)),
            attacked={
                f"{eps:g}": Rate(**rate(round(good * (1 - _LOST["worst case"] * factor)), n))
                for eps, factor in zip(EPS_UV, (1, 3), strict=True)
            },
        )
        for name, n, good in zip(names, counts, right, strict=True)
    )


def _masking() -> tuple[MaskingCheck, ...]:
    return (
        MaskingCheck("zero_gradients", True, 0.0, 0.0, "0 of 768 records are right and have no gradient"),
        MaskingCheck("unbounded", True, 0.004, 0.02, "3 of 768 records stand whatever eps is"),
        MaskingCheck(
            "more_restarts", None, 0.013, 0.005, "10 of 768 records fall only to more restarts: too few to tell"
        ),
        MaskingCheck("transfer", None, None, 0.01, "no other network is at hand"),
    )


def _black_box() -> BlackBox:
    fooled = {100: (2, 9, 31, 58), 300: (4, 20, 45, 62), 1000: (6, 33, 58, 64)}
    return BlackBox(
        attack="smooth-geo",
        samples=64,
        skipped=0,
        queries=1000,
        seconds=64.5,
        masked=False,
        curve=tuple(
            QueryPoint(
                queries=queries,
                median_l2_uv=24_000 / np.sqrt(queries).item(),
                median_linf_uv=1_500 / np.sqrt(queries).item(),
                success={
                    eps: Rate(**rate(count, 64)) for eps, count in zip(("10", "50", "200", "1000"), counts, strict=True)
                },
            )
            for queries, counts in fooled.items()
        ),
        witnesses="witnesses.npz",
    )


def _stream() -> Stream:
    """Four minutes: normal rhythm with ninety seconds of AF in it, one gap, an episode announced late."""
    decisions = []
    for at in range(1, 241):
        if at < 30:
            decisions.append(Decision(float(at), "warming_up", ()))
        elif 200 <= at < 205:
            decisions.append(Decision(float(at), "invalid", ()))
        else:
            af = float(np.clip((at - 75) / 30, 0, 1) * np.clip((195 - at) / 30, 0, 1) * 0.9 + 0.03)
            decisions.append(Decision(float(at), "scored", (round(0.95 - af, 6), round(af, 6), 0.03, 0.02)))
    return Stream(
        compiled=True,
        message="equal to the window file in every bit on 211 hops",
        hops=211,
        equal=211,
        signal="day:240 (synthetic, seed 0)",
        decisions=tuple(decisions),
        truth=(Span("N", 0.0, 75.0), Span("A", 75.0, 165.0), Span("N", 165.0, 240.0)),
        episodes=(Span("A", 92.0, 178.0),),
        scores=(
            {
                "class": "A",
                "sensitivity": rate(1, 1),
                "false_alarms_per_day": {"value": 0.0, "low": 0.0, "high": 1514.0, "n": 0},
                "detections": 1,
                "delay_s": {"median": 24.0, "q1": 24.0, "q3": 24.0, "n": 1},
                "burden": {"reference": 0.375, "detected": 0.358, "error": -0.017, "misplaced": 0.125},
                "inconclusive": 0.0,
                "scored_s": 210.0,
            },
        ),
        latency_ms={"p50": 0.42, "p99": 0.61, "max": 0.9},
        deadline_misses=0,
        macs_per_hop=974_060,
        macs_per_window=29_221_792,
    )


def _bill() -> dict[str, Any]:
    """One target of `edgeguard simulate --bill`."""

    def between(low: float, high: float) -> dict[str, float]:
        return {"low": low, "high": high}

    target = {
        "key": "stm32u575",
        "name": "STM32U575ZI-Q",
        "core": "Cortex-M33",
        "clock_mhz": 160,
        "fits": True,
        "fits_flash": True,
        "fits_ram": True,
        "latency_ms": between(326.5, 486.5),
        "duty_cycle": between(0.3265, 0.4865),
        "keeps_hop": True,
        "overflows_fifo": True,
        "inference_energy_uj": between(8513.0, 12523.0),
        "power": {
            "inference_mw": between(8.513, 12.523),
            "sleep_mw": between(0.0072, 0.0161),
            "front_end_mw": 0.085,
            "radio_mw": between(0.01, 0.03),
            "total_mw": between(8.615, 12.654),
        },
        "inference_battery_share_per_day": between(0.177, 0.26),
        "battery_share_per_day": between(0.179, 0.263),
        "sources": {"clock": "its submission", "memory": "its submission", "inferences": "its submission"},
    }
    return {
        "schema": "edgeguard.bill/1",
        "estimate": True,
        "model": "runs/adt-edge-m/adt-edge-m-int8.onnx",
        "kind": "window",
        "sampling_rate_hz": 300.0,
        "window_or_hop_samples": 9000,
        "hop_seconds": 1.0,
        "fifo_slack_ms": 53.333,
        "work": {
            "macs": 29_221_792,
            "integer_macs": 29_221_536,
            "single_channel_macs": 861_600,
            "macs_per_second": 29_221_792.0,
        },
        "flash": {
            "weights_bytes": 142_560,
            "bias_bytes": 2304,
            "requantization_bytes": 4608,
            "float_bytes": 1040,
            "model_bytes": 150_512,
            "runtime_code_bytes": between(16_384, 65_536),
            "total_bytes": between(166_896, 216_048),
        },
        "ram": {
            "input_buffer_bytes": 9000,
            "activation_bytes": 66_736,
            "kernel_scratch_bytes": 1792,
            "layer_state_bytes": 0,
            "pooling_ring_bytes": 0,
            "filter_state_bytes": 40,
            "fifo_bytes": 96,
            "total_bytes": 77_664,
        },
        "battery": {"capacity_mah": 300.0, "voltage_v": 3.85},
        "front_end": "max30003",
        "radio_events_per_second": 1.0,
        "targets": [target],
        "sources": {"front_end": "its data sheet", "radio": "its specification", "runtime_code": "an assumption"},
    }


def _confidence() -> Confidence:
    counts, right = (192, 192, 192, 192), (103, 152, 181, 190)
    edges, means = (0.0, 0.71, 0.86, 0.95, 1.0), (0.58, 0.79, 0.91, 0.98)
    accuracies = [Rate(**rate(good, n)) for good, n in zip(right, counts, strict=True)]
    error = float(np.mean([abs(mean - accuracy.value) for mean, accuracy in zip(means, accuracies, strict=True)]))
    return Confidence(
        expected_error=Rate(error, error - 0.012, error + 0.019, 768),
        temperature=1.18,
        bins=tuple(
            ConfidenceBin(low, high, mean, accuracy)
            for low, high, mean, accuracy in zip(edges[:-1], edges[1:], means, accuracies, strict=True)
        ),
        abstention=Abstention(
            threshold=0.71,
            target=0.9,
            coverage=Rate(**rate(576, 768)),
            accuracy=Rate(**rate(523, 576)),
            attacked_coverage=Rate(**rate(541, 768)),
            attacked_accuracy=Rate(**rate(462, 541)),
        ),
    )


def _picture() -> Picture:
    """Ten seconds of beats, padded on both sides, with a slow wave of 10 uV on them."""
    rate_hz, length, left = 300.0, 3000, 500
    t = np.arange(length) / rate_hz
    beats = 900 * np.exp(-(((t % 0.8) - 0.4) ** 2) / (2 * 0.012**2)) + 140 * np.exp(-(((t % 0.8) - 0.65) ** 2) / 0.004)
    ecg = np.zeros(left + length + left, np.float32)
    ecg[left : left + length] = np.rint(beats)
    wave = np.zeros_like(ecg)
    wave[left : left + length] = np.rint(10 * np.sin(2 * np.pi * 1.5 * t))
    weight = np.abs(np.gradient(ecg)).astype(np.float32)
    return Picture(
        record="A00123",
        true="N",
        attack="sap",
        eps_uv=10.0,
        clean_class="N",
        attacked_class="A",
        clean_probability=0.81,
        attacked_probability=0.56,
        sampling_rate=rate_hz,
        left=left,
        length=length,
        ecg=ecg,
        adversarial=ecg + wave,
        clean_saliency=weight,
        attacked_saliency=np.roll(weight, 12),
    )
