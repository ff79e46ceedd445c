"""A user's own defences and attacks: the page works word for word, a bug of theirs is one line, no file runs code."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from walkthrough import run_page

import edgeguard
from edgeguard.attacks import catalogue
from edgeguard.attacks.catalogue import make_attack
from edgeguard.attacks.own_white_box import own_white_box
from edgeguard.attacks.walk import Task
from edgeguard.cli import main
from edgeguard.defenses import recipes
from edgeguard.defenses.config import make_config
from edgeguard.defenses.recipes import DEFENSES, Defense
from edgeguard.errors import InputError
from edgeguard.evaluation import portfolio
from edgeguard.evaluation.reproduction.cluster import _registered
from edgeguard.models import registry
from edgeguard.runtime.registry import Registry, reported

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
DATA = ["--data", "synthetic:40"]


@pytest.fixture(autouse=True)
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own; modules and names that a test brought in are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = set(sys.modules)
    for of in (recipes.REGISTRY, catalogue.REGISTRY, registry.REGISTRY):
        monkeypatch.setattr(of, "_typed", dict(of._typed))
    monkeypatch.setattr(portfolio.REGISTRY, "_typed", catalogue.REGISTRY._typed)
    yield
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def refused(*words: str) -> None:
    """Run a command that has to end with exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 2


def write(name: str, code: str) -> None:
    Path(name).write_text("import torch\nfrom edgeguard.plugins import *\n" + code, encoding="utf-8")


def test_the_page_works_word_for_word(tmp_path: Path):
    run, names = run_page(PAGE, tmp_path)
    assert [line.split()[1] for line in run] == [
        *("train", "export", "evaluate", "reproduce", "evaluate", "evaluate", "attack-onnx")
    ]
    result = json.loads((tmp_path / "runs" / "attack-onnx" / "result.json").read_text())
    assert result["attack"] == "halving" and result["queries"] == 50
    config = json.loads((tmp_path / "runs" / "pairing" / "config.json").read_text())
    assert config["defense"] == "pairing:pairing" and config["options"]["warm_up"] == 2
    assert [row.name for row in names["found"].attacks] == ["clean", "one_step:fgsm"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("own = 3", "is int, an edgeguard.defenses.Defense is needed"),
        ("own = Defense(objective='hope')", "objective hope: unknown; choose cross-entropy"),
        ("own = Defense(objective=lambda *_: 1 / 0)", "its objective fails (ZeroDivisionError: division by zero)"),
        ("own = Defense(objective=lambda *_: 1.0)", "its objective returned float; return a scalar tensor"),
        ("own = Defense(objective=lambda s, m, b, *_: m(b.ecg))", "its objective returned a tensor [32, 4]"),
        ("own = Defense(objective=lambda *_: torch.zeros(()))", "returned a loss without a gradient"),
        ("own = Defense(adversarial=True, crafting=lambda *_: None)", "its crafting returned NoneType"),
        ("own = Defense(adversarial=True, crafting=lambda s, m, b, d: b.ecg[:1])", "crafting returned a tensor [1, 1,"),
        ("own = Defense(teacher='nobody')", "--defense nobody: unknown"),
        ("raise SystemError('broken\\nlines')", "cannot be imported (SystemError: broken)"),
    ],
)
def test_a_bug_of_a_defence_is_one_line(code: str, message: str, capsys: pytest.CaptureFixture[str]):
    write("buggy.py", code)
    refused("train", "--defense", "buggy:own", "--arch", "edge-s", "--epochs", "1", *DATA)
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert last.startswith("edgeguard: --defense ") and message in last and "Traceback" not in err


def test_debug_shows_where_it_failed(capsys: pytest.CaptureFixture[str]):
    write("buggy.py", "def loss(*_):\n    return {}['missing']\nown = Defense(objective=loss)")
    refused("--debug", "train", "--defense", "buggy:own", "--arch", "edge-s", "--epochs", "1", *DATA)
    assert "return {}['missing']" in capsys.readouterr().err


def test_an_own_objective_equal_to_a_built_in_one_trains_the_same_weights(tmp_path: Path):
    write(
        "twin.py",
        "from edgeguard.defenses.objectives import mixed_cross_entropy\n"
        "own = Defense(adversarial=True, objective=mixed_cross_entropy)",
    )
    edgeguard.register_defense("twin:own")
    options: dict[str, Any] = dict(arch="edge-s", epochs=1, data="synthetic:40")
    runs = [edgeguard.train(defense=name, out=tmp_path / name[:2], **options).run for name in ("at", "twin:own")]
    assert len({(Path(run) / "weights.safetensors").read_bytes() for run in runs}) == 1


def test_the_own_crafting_is_what_the_objective_sees(tmp_path: Path):
    write(
        "seen.py",
        "seen = []\n"
        "def shifted(settings, model, batch, draws):\n    return batch.ecg + 7\n"
        "def loss(settings, model, batch, warm, draws):\n"
        "    attacked = craft(settings, model, batch, draws)\n"
        "    seen.append((warm, float((attacked - batch.ecg).min()), float((attacked - batch.ecg).max())))\n"
        "    return model(attacked).square().mean()\n"
        "own = Defense(adversarial=True, objective=loss, crafting=shifted, warm_up=1)",
    )
    edgeguard.register_defense("seen:own")
    edgeguard.train(defense="seen:own", arch="edge-s", epochs=2, data="synthetic:40", out=tmp_path / "run")
    seen = sys.modules["seen"].seen
    assert [row[0] for row in seen] == [False, True]
    np.testing.assert_allclose([row[1:] for row in seen], 7, rtol=1e-3)


def test_the_warm_up_of_a_row_gives_way_to_the_option():
    write("late.py", "own = Defense(objective=lambda *_: None, warm_up=5)")
    edgeguard.register_defense("late:own")
    assert make_config(defense="late:own").warm_up == 5
    assert make_config(defense="late:own", warm_up=2).warm_up == 2
    assert make_config(defense="jr").warm_up == 1


def test_no_file_makes_code_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A run of an own defence is judged without its code; its config trains nothing until a person types the name."""
    write("owned.py", "Path = __import__('pathlib').Path\nPath('ran').touch()\nown = Defense()")
    recipes.REGISTRY._typed["owned:own"] = Defense()
    run = edgeguard.train(defense="owned:own", arch="edge-s", epochs=1, data="synthetic:40", out=tmp_path / "run").run
    recipes.REGISTRY._typed.clear()
    main(["evaluate", str(run), "--attack", "clean", *DATA], standalone_mode=False)
    capsys.readouterr()
    refused("train", "--config", str(Path(run) / "config.json"), "--out", "again", *DATA)
    assert "no file can make it run; if you trust it, name it with --defense" in capsys.readouterr().err
    shutil.copytree(run, tmp_path / "teacher")
    for words in (["--teacher", "teacher"], []):
        main(["train", "--defense", "dd", "--arch", "edge-s", "--epochs", "1", *words, *DATA], standalone_mode=False)
    assert not (tmp_path / "ran").exists() and "owned" not in sys.modules


def test_workers_are_told_what_was_typed():
    write("typed.py", "own = Defense()")
    edgeguard.register_defense("typed:own")
    assert "typed:own" in _registered()["edgeguard.defenses.recipes"]
    worker = Registry(DEFENSES, kind="defence", option="--defense", function="f")
    worker.permit(_registered()["edgeguard.defenses.recipes"])
    assert worker.get("typed:own") is sys.modules["typed"].own


def test_installed_packages_register_plain_names(monkeypatch: pytest.MonkeyPatch):
    write("installed.py", "ours = Defense(rounds=3)")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    points = {
        "edgeguard.defenses": [EntryPoint("ours", "installed:ours", "edgeguard.defenses")],
        "edgeguard.attacks": [],
    }
    monkeypatch.setattr("edgeguard.runtime.registry.entry_points", lambda group: points[group])
    mine = Registry(DEFENSES, kind="defence", option="--defense", function="f", group="edgeguard.defenses")
    assert mine.names() == (*DEFENSES, "ours") and mine.get("ours") == Defense(rounds=3)
    mine.register("ours")
    with pytest.raises(InputError, match="--defense our: unknown; did you mean ours"):
        mine.check("our")


def white(attack: Callable[..., Any], **limits: Any) -> torch.Tensor:
    ecg = torch.arange(12, dtype=torch.float32).reshape(2, 1, 6)
    mask = torch.tensor([[[True] * 6], [[True] * 3 + [False] * 3]])
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3), torch.nn.Dropout(0.5)).train()
    options: dict[str, Any] = dict(eps=2.0, alpha=1.0, steps=3, seed=1) | limits
    made = own_white_box(attack, "mine:own", model, ecg, torch.tensor([0, 1]), mask, **options)
    assert model.training and model[2].training
    return made - ecg


def test_a_white_box_attack_is_cut_back_to_its_budget():
    change = white(lambda model, ecg, *_, eps, **__: ecg + 5 * eps)
    assert change[0].tolist() == [[2.0] * 6] and change[1].tolist() == [[2.0] * 3 + [0.0] * 3]
    assert white(lambda model, ecg, *_, **__: ecg.sub_(0.5)).abs().max() == 0.5


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda *_, **__: None, "returned NoneType"),
        (lambda m, ecg, *_, **__: ecg[:1], r"returned a tensor \[1, 1, 6\]"),
        (lambda m, ecg, *_, **__: ecg * float("nan"), "returned records that are not finite"),
        (lambda *_: None, "fails .*unexpected keyword"),
    ],
)
def test_a_bug_of_a_white_box_attack_is_one_line(attack: Callable[..., Any], message: str):
    with pytest.raises(InputError, match="--attack mine:own:? " + message):
        white(attack)


def test_draws_repeat_and_dropout_is_off():
    def noisy(model: Any, ecg: torch.Tensor, *_: Any, draws: torch.Generator, **__: Any) -> torch.Tensor:
        assert not model.training and torch.equal(model(ecg), model(ecg))
        return ecg + torch.rand(ecg.shape, generator=draws)

    assert torch.equal(white(noisy), white(noisy)) and not torch.equal(white(noisy), white(noisy, seed=2))


ATTACK = "class Own:\n    name = {name!r}\n    norm = {norm!r}\n    def walk(self, task):\n        {walk}\n"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"name": "A b"}, "name is 'A b'"),
        ({"norm": "l7"}, "norm is 'l7'"),
        ({"walk": "yield 3"}, "its walk asked for int"),
        ({"walk": "yield Request(task.original)"}, r"its walk asked for points \[1, 6\]"),
        ({"walk": "yield Request(task.original[None] * float('inf'))"}, r"its walk asked for points \[1, 1, 6\]"),
        ({"walk": "raise KeyError('x')\n        yield"}, "its walk fails .KeyError: 'x'"),
    ],
)
def test_a_bug_of_an_attack_by_labels_is_one_line(facts: dict[str, str], message: str):
    write("black.py", ATTACK.format(**{"name": "own", "norm": "l2", "walk": "return 'done'\n        yield"} | facts))
    edgeguard.register_attack("black:Own")
    original = np.ones((1, 6), np.float32)
    task = Task(original, original > 0, original[None], 300.0, 1.0, np.random.default_rng(0))
    with pytest.raises(InputError, match=f"--attack black:Own: {message}"):
        next(make_attack("black:Own").walk(task))


def test_each_kind_of_attack_is_sent_to_its_command(capsys: pytest.CaptureFixture[str]):
    write("both.py", ATTACK.format(name="own", norm="l2", walk="yield") + "def fgsm(model, ecg): return ecg\n")
    for words, message in (
        (
            ("evaluate", "zoo:adt-edge-s", "--attack", "clean,both:Own"),
            "an attack by labels is for edgeguard attack-onnx",
        ),
        (("attack-onnx", "--attack", "both:fgsm"), "which edgeguard evaluate takes"),
        (
            ("evaluate", "zoo:adt-edge-s", "--attack", "own"),
            "unknown; choose clean, pgd, sap, cw-smooth, square or MODULE:NAME",
        ),
        (("attack-onnx", "--attack", "boundry"), "unknown; did you mean boundary?"),
    ):
        refused(*words, *DATA)
        assert message in capsys.readouterr().err


def test_an_error_of_ours_passes_as_it_is():
    with pytest.raises(InputError, match=r"^ours$"), reported("theirs"):
        raise InputError("ours")
