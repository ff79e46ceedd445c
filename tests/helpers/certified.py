"""A small ONNX file with real witnesses and golden vectors, the certificate of an audit of it, and ways to spoil it."""

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from audits import CLASSES, example_audit
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from edgeguard.attacks.campaign import Campaign, Tasks, attack_file, witnesses_of
from edgeguard.attacks.catalogue import make_attack
from edgeguard.attacks.witnesses import save_witnesses
from edgeguard.ecg.dataset import build
from edgeguard.ecg.record import Record
from edgeguard.evaluation.audit.result import Audit, BlackBox, QueryPoint, Rate
from edgeguard.evaluation.certificate import Verification, verify_certificate, write_certificate
from edgeguard.evaluation.certificate_form import overall_digest, section_digests
from edgeguard.evaluation.intervals import rate
from edgeguard.export.golden import make_golden, save_golden
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.processor import processor_facts
from edgeguard.runtime.session import OnnxModel, open_model

Content = dict[str, Any]

WINDOW = 600
EPS_UV = (50.0, 400.0)
BUDGET = 40


@dataclass(frozen=True)
class Certified:
    """The certificate, its content, and the files that it is about, all in one folder."""

    path: Path
    content: Content
    audit: Audit
    file: Path
    witnesses: Path
    golden: Path
    report: Path
    stream: Path

    def __repr__(self) -> str:
        return str(self.path.parent)


def make_certified(folder: Path, *, key: Path | None = None) -> Certified:
    """Everything that an audit leaves in a folder, on a file that is attacked here for a moment."""
    folder.mkdir(exist_ok=True)
    file = write_model(folder / "m.onnx")
    model = open_model(file)
    campaign = _attack(model)
    witnesses, golden = folder / "witnesses.npz", folder / "m.golden.npz"
    save_witnesses(witnesses, witnesses_of(campaign))
    save_golden(make_golden(model, _windows(4, seed=3)), golden, golden.with_suffix(".h"))
    (folder / "report.html").write_text("<!doctype html>\n")
    (folder / "m-stream.onnx").write_bytes(b"a stream")
    audit = audit_of(model, campaign)
    path = folder / "certificate.json"
    others = {
        "witnesses": witnesses,
        "golden": golden,
        "report": folder / "report.html",
        "stream": folder / "m-stream.onnx",
    }
    content = write_certificate(audit, path, file=file, key=key, **others)
    assert content == json.loads(path.read_text(encoding="utf-8"))
    return Certified(path, content, audit, file, **others)


def copied(certified: Certified, folder: Path) -> Certified:
    """The same files in a folder of their own, for a test to spoil."""
    shutil.copytree(certified.path.parent, folder)
    moved = {name: folder / path.name for name, path in vars(certified).items() if isinstance(path, Path)}
    return replace(certified, **moved)


def rewritten(own: Certified, audit: Audit | None = None) -> Content:
    """The certificate written anew after its witnesses or golden vectors were changed, or of another audit."""
    audit = own.audit if audit is None else audit
    return write_certificate(audit, own.path, file=own.file, witnesses=own.witnesses, golden=own.golden)


def write_keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """PEM files of a fresh Ed25519 key, (private, public)."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def verified(certified: Certified, content: Content, **options: Any) -> Verification:
    """What becomes of the certificate with other content, for as long as that takes."""
    before = certified.path.read_bytes()
    certified.path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    try:
        return verify_certificate(certified.path, certified.file, **options)
    finally:
        certified.path.write_bytes(before)


def failing(found: Verification) -> dict[str, str]:
    """Message of each claim that is false, by its name."""
    assert found.holds == (found.failures == ())
    return {claim.name: claim.message for claim in found.failures}


def message(found: Verification, name: str) -> str:
    """What a claim says, whether it holds or not."""
    return next(claim.message for claim in found.claims if claim.name == name)


def redigested(content: Content) -> Content:
    """What anybody can do who tampers on purpose: all digests anew."""
    content = {**content, "digests": section_digests(content)}
    return {**content, "digest": overall_digest(content)}


def changed(content: Content, place: str, value: Any) -> Content:
    """A copy with another value at a place as `leaves` names it: `checks[2].bar`."""
    copy = deepcopy(content)
    node: Any = copy
    *path, last = re.findall(r"[^.\[\]]+", place)
    for key in path:
        node = node[int(key) if isinstance(node, list) else key]
    last = int(last) if isinstance(node, list) else last
    assert node[last] != value or type(node[last]) is not type(value), f"{place} is that already"
    node[last] = value
    return copy


_ALONE = """
import sys

class Nothing:
    allowed = ("cryptography", "click", "edgeguard", "numpy", "onnx", "onnxruntime", "google", "ml_dtypes",
               "typing_extensions", "flatbuffers", "packaging", "cffi", "_cffi_backend")
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in (*sys.stdlib_module_names, *self.allowed):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Nothing())
"""


def run_alone(code: str, *arguments: object) -> str:
    """What a program prints where nothing is installed but numpy, onnx, onnxruntime, click and cryptography.

    Neither it nor what it imports may have asked for the parts of EdgeGuard that train, or onnx's own evaluator.
    """
    after = "assert not {'edgeguard.models', 'edgeguard.defenses', 'onnx.reference'} & set(sys.modules)"
    command = [sys.executable, "-c", "\n".join((_ALONE, code, after)), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def audit_of(model: OnnxModel, campaign: Campaign) -> Audit:
    """The audit made by hand, with the facts of a file, a campaign and this processor for its own."""
    base = example_audit()
    linf = np.array([trace.linf[-1] if trace.linf else np.inf for trace in campaign.traces])
    success = {f"{eps:g}": Rate(**rate(int((linf <= eps).sum()), len(linf))) for eps in EPS_UV}
    return replace(
        base,
        model=replace(
            base.model,
            path=str(model.path),
            sha256=model.sha256,
            bytes=model.path.stat().st_size,
            window=model.window,
            parent=None,
            defense=None,
            arch=None,
        ),
        black_box=BlackBox(
            attack=campaign.attack.name,
            samples=len(campaign.records),
            skipped=campaign.skipped,
            queries=campaign.budget,
            seconds=0.5,
            masked=False,
            curve=(QueryPoint(campaign.budget, 900.0, float(np.median(linf)), success),),
            witnesses="witnesses.npz",
        ),
        provenance=replace(
            base.provenance,
            versions={**base.provenance.versions, "onnxruntime": onnxruntime.__version__},
            processor=processor_facts(),
        ),
    )


def write_model(path: Path, *, bias: float = 0.0) -> Path:
    """logits = smooth random weights times ecg in codes of 31.25 uV: every class is the largest for some records."""
    rng = np.random.default_rng(0)
    weight = np.kron(rng.normal(0, 1, (WINDOW // 50, 4)), np.ones((50, 1))).astype(np.float32)
    constants = {
        "step": np.float32(31.25),
        "zero": np.int8(0),
        "weight": weight,
        "bias": np.array([bias, 0, 0, 0], np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["ecg", "step", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["read"]),
        helper.make_node("Flatten", ["read"], ["rows"]),
        helper.make_node("Gemm", ["rows", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, WINDOW])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, ModelMetadata(classes=CLASSES, sampling_rate=300.0, window=WINDOW).to_props())
    onnx.save(model, path)
    return path


def _attack(model: OnnxModel) -> Campaign:
    """The boundary attack on eight records, each labelled as the file has it."""
    ecg = _windows(8, seed=2)
    labels = model.labels(ecg)
    records = [
        Record(f"R{i}", row[0], label=CLASSES[label]) for i, (row, label) in enumerate(zip(ecg, labels, strict=True))
    ]
    dataset = build("noise", records, window=WINDOW)
    return attack_file(model, dataset, Tasks(np.arange(len(dataset))), attack=make_attack("boundary"), queries=BUDGET)


def _windows(count: int, *, seed: int) -> np.ndarray:
    """float32 [count, 1, WINDOW] whole microvolts: slow noise, so that every class comes up."""
    slow = np.random.default_rng(seed).normal(0, 400, (count, 1, WINDOW // 50))
    return np.rint(np.repeat(slow, 50, axis=2)).astype(np.float32)
