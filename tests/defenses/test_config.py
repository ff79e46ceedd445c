import json
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.defenses.config import PRESETS, TrainConfig, make_config
from edgeguard.defenses.recipes import DEFENSES
from edgeguard.errors import InputError


def test_the_paper_preset_is_the_papers():
    config = make_config(preset="paper")
    assert (config.epochs, config.batch, config.optimizer, config.learning_rate) == (100, 16, "adam", 1e-3)
    assert (config.crafting, config.eps, config.alpha, config.steps, config.smooth_steps) == ("sap", 10, 1, 5, 5)
    assert (config.mix, config.temperature, config.kernels) == (0.5, 1, "nest25")
    assert (config.weight_decay, config.schedule, config.augment) == (0, "constant", False)
    assert (config.warm_up, config.units, config.jacobian_weight) == (10, "published", 44)
    assert (config.nsr_eps, config.nsr_weight) == (1, 1)
    assert (config.start_epochs, config.precision, config.craft_precision) == (0, "float32", "float32")


def test_the_lite_preset_keeps_the_papers_attack_and_starts_from_a_trained_network():
    paper, lite = make_config(preset="paper"), make_config(preset="lite")
    attack = ("crafting", "eps", "alpha", "steps", "smooth_steps", "kernels", "mix", "temperature")
    assert all(getattr(lite, name) == getattr(paper, name) for name in attack)
    assert (lite.epochs, lite.start_epochs) == (10, 100)


def test_the_fast_preset_crafts_in_a_single_step():
    config = make_config(preset="fast")
    assert (config.crafting, config.eps, config.noise, config.epochs) == ("single-step", 20, 2, 10)
    assert config.start_epochs == 0


def test_the_default_is_adt_on_the_default_network_in_the_fast_preset():
    config = make_config()
    assert config == make_config(preset="fast")
    assert (config.defense, config.arch, config.preset, config.seed) == ("adt", "edge-m", "fast", 0)
    assert make_config(precision="float32") == TrainConfig()


def test_an_option_wins_over_its_preset_and_none_leaves_it():
    config = make_config(preset="paper", epochs=3, batch=None, eps=7)
    assert (config.epochs, config.batch, config.eps) == (3, 16, 7.0)
    assert isinstance(config.eps, float)


def test_corrected_units_bring_weights_of_their_own_which_an_option_overrules():
    published, corrected = (make_config(units=units) for units in ("published", "corrected"))
    assert (published.jacobian_weight, published.nsr_eps) == (44, 1)
    assert (corrected.jacobian_weight, corrected.nsr_eps, corrected.nsr_weight) == (1, 10, 0.1)
    own = make_config(units="corrected", jacobian_weight=3, preset="paper")
    assert (own.units, own.jacobian_weight, own.nsr_eps) == ("corrected", 3, 10)


@pytest.mark.parametrize("fast", [True, False])
def test_auto_precision_follows_the_machine_and_a_named_one_does_not(monkeypatch: pytest.MonkeyPatch, fast: bool):
    monkeypatch.setattr("edgeguard.defenses.config.has_fast_bfloat16", lambda: fast)
    chosen = "bf16" if fast else "float32"
    for preset, precision, crafting in (
        ("fast", chosen, "float32"),
        ("lite", chosen, chosen),
        ("paper", "float32", "float32"),
    ):
        config = make_config(preset=preset)
        assert (config.precision, config.craft_precision) == (precision, crafting)
    for named in ("bf16", "float32"):
        config = make_config(precision=named, craft_precision=named)
        assert (config.precision, config.craft_precision) == (named, named)
    asked = make_config(preset="paper", precision="auto", craft_precision="auto")
    assert (asked.precision, asked.craft_precision) == (chosen, chosen)


def any_options() -> st.SearchStrategy[dict[str, Any]]:
    """Options that are all good."""
    return st.fixed_dictionaries(
        {"defense": st.sampled_from(sorted(DEFENSES)), "preset": st.sampled_from(sorted(PRESETS))},
        optional={
            "seed": st.integers(0, 2**63 - 1),
            "epochs": st.integers(1, 500),
            "start_epochs": st.integers(0, 500),
            "batch": st.integers(2, 512),
            "temperature": st.floats(1e-3, 1e3),
            "mix": st.floats(0, 1),
            "eps": st.floats(0, 1e3),
            "noise": st.floats(0, 8),
            "units": st.sampled_from(["published", "corrected"]),
            "crafting": st.sampled_from(["sap", "mixed", "single-step"]),
            "label_smoothing": st.floats(0, 0.99),
            "augment": st.booleans(),
        },
    )


@given(options=any_options())
def test_a_config_survives_json(options: dict[str, Any]):
    config = make_config(**options)
    assert make_config(**json.loads(json.dumps(config.to_dict()))) == config


@given(options=any_options())
def test_what_comes_before_a_run_has_its_settings_and_needs_nothing_more(options: dict[str, Any]):
    config = make_config(**options)
    for before in (config.teacher(), config.start()):
        assert before is None or {**before.to_dict(), "defense": config.defense} == config.to_dict()
    if teacher := config.teacher():
        assert teacher.teacher() is None
    if start := config.start():
        assert start.is_start and start.start() is None and start.teacher() is None
        assert start.stage_epochs == config.start_epochs


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("eps", -1, "--eps -1.0: at least 0 needed"),
        ("eps", math.inf, "eps = inf: a finite number needed"),
        ("eps", math.nan, "eps = nan: a finite number needed"),
        ("alpha", -0.5, "--alpha -0.5: at least 0"),
        ("noise", -1, "--noise -1.0: at least 0"),
        ("temperature", 0, "--temperature 0.0: above 0 needed"),
        ("temperature", -2, "--temperature -2.0: above 0 needed"),
        ("temperature", math.inf, "temperature = inf"),
        ("epochs", 0, "--epochs 0: at least 1"),
        ("epochs", 2.5, "epochs = 2.5: a whole number needed"),
        ("epochs", True, "epochs = True: a whole number needed"),
        ("start_epochs", -1, "--start-epochs -1: at least 0"),
        ("batch", 1, "--batch 1: at least 2"),
        ("learning_rate", 0, "--learning-rate 0.0: above 0"),
        ("weight_decay", -1, "--weight-decay -1.0: at least 0"),
        ("mix", 1.1, "--mix 1.1: between 0 and 1"),
        ("mix", -0.1, "--mix -0.1: between 0 and 1"),
        ("steps", -1, "--steps -1: at least 0"),
        ("smooth_steps", -1, "--smooth-steps -1: at least 0"),
        ("warm_up", -1, "--warm-up -1: at least 0"),
        ("jacobian_weight", -1, "--jacobian-weight -1.0: at least 0"),
        ("nsr_eps", -1, "--nsr-eps -1.0: at least 0"),
        ("nsr_weight", -1, "--nsr-weight -1.0: at least 0"),
        ("label_smoothing", 1, "--label-smoothing 1.0: between 0 and 1"),
        ("label_smoothing", -0.1, "--label-smoothing -0.1: between 0 and 1"),
        ("trades_beta", -6, "--trades-beta -6.0: at least 0"),
        ("halves", "both", "--halves both: unknown; choose same or apart"),
        ("prior", 1.5, "--prior 1.5: between 0 and 1"),
        ("averaging", -1, "--averaging -1.0: at least 0"),
        ("eps_spread", 1.5, "--eps-spread 1.5: between 0 and 1"),
        ("seed", -1, "--seed -1"),
        ("seed", 2**64, "--seed"),
        ("kernels", "nest", "--kernels nest: unknown; did you mean nest25? choose nest25 or zip5"),
        ("crafting", "fgsm", "--crafting fgsm: unknown; choose sap, mixed or single-step"),
        ("units", "volts", "--units volts: unknown; choose published or corrected"),
        ("optimizer", "sgd", "--optimizer sgd: unknown; choose adam or adamw"),
        ("schedule", "linear", "--schedule linear: unknown; choose constant or one-cycle"),
        ("precision", "float16", "--precision float16: unknown; did you mean float32? choose float32 or bf16"),
        ("craft_precision", "tf32", "--craft-precision tf32: unknown; choose float32 or bf16"),
        ("preset", "slow", "--preset slow: unknown; choose fast, full, lite or paper"),
        ("defense", "trust", "--defense trust: unknown"),
        ("augment", "yes", "augment = 'yes': true or false needed"),
        ("arch", 3, "arch = 3: text needed"),
        ("alhpa", 1, "training option alhpa: unknown; did you mean alpha? choose "),
    ],
)
def test_a_bad_value_is_refused_in_one_line(option: str, value: Any, message: str):
    with pytest.raises(InputError) as caught:
        make_config(**{option: value})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_teacher_has_the_same_settings_but_the_defence():
    config = make_config(defense="adt", seed=3, temperature=2.0)
    assert config.teacher() == make_config(defense="at", seed=3, temperature=2.0)
    assert make_config(defense="at").teacher() is None and make_config(defense="none").teacher() is None


def test_a_start_is_the_undefended_network_at_its_own_epochs():
    config = make_config(defense="adt", epochs=4, start_epochs=9)
    start = config.start()
    assert start == make_config(defense="none", epochs=4, start_epochs=9)
    assert (config.stage_epochs, start.stage_epochs) == (4, 9)
    assert make_config(defense="adt", start_epochs=0).start() is None
    assert make_config(defense="none", epochs=4).stage_epochs == 4


@pytest.mark.parametrize("defense", DEFENSES)
def test_every_stage_has_the_same_epochs_but_at_long_that_has_adts_two(defense: str):
    assert make_config(defense=defense, epochs=7).stage_epochs == (14 if defense == "at-long" else 7)


@pytest.mark.parametrize("defense", DEFENSES)
def test_what_crafts(defense: str):
    row = DEFENSES[defense]
    assert make_config(defense=defense).crafts is row.adversarial
    assert make_config(defense=defense, mix=0).crafts is (defense == "trades")


OWN_FIELDS: dict[str, set[str]] = {
    "none": set(),
    "dd": set(),
    "init-adt": set(),
    "jr": {"warm_up", "units", "jacobian_weight"},
    "nsr": {"warm_up", "units", "nsr_eps", "nsr_weight"},
    "at": {"mix"},
    "dist-adt": {"mix"},
    "adt": {"mix"},
    "at-long": {"mix"},
    "at-smooth": {"mix", "label_smoothing"},
    "trades": {"trades_beta"},
}
"""What each defence reads, beside what all do and the attack."""
ATTACK = {"crafting", "eps", "craft_precision"}
SOME_READ = ATTACK.union(*OWN_FIELDS.values())
OTHER: dict[str, Any] = {
    "crafting": "sap",
    "eps": 3.0,
    "craft_precision": "bf16",
    "mix": 0.25,
    "warm_up": 2,
    "units": "corrected",
    "jacobian_weight": 7.0,
    "nsr_eps": 7.0,
    "nsr_weight": 7.0,
    "label_smoothing": 0.3,
    "trades_beta": 2.0,
}


@pytest.mark.parametrize("defense", DEFENSES)
def test_a_setting_decides_a_run_exactly_where_it_is_read(defense: str):
    base = TrainConfig(defense=defense)
    read = OWN_FIELDS[defense] | (ATTACK if base.crafts else set())
    for name in SOME_READ:
        changed = TrainConfig(**{**base.to_dict(), name: OTHER[name]})
        assert (changed.deciding() != base.deciding()) is (name in read), name


@pytest.mark.parametrize("name", ["alpha", "steps", "smooth_steps", "noise"])
@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
def test_a_setting_of_the_other_attack_decides_nothing(crafting: str, name: str):
    base = TrainConfig(crafting=crafting)
    changed = TrainConfig(**{**base.to_dict(), name: getattr(base, name) + 1})
    assert (changed.deciding() != base.deciding()) is ((name == "noise") is (crafting == "single-step"))


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 3},
        {"seed": 1},
        {"batch": 16},
        {"arch": "edge-s"},
        {"preset": "paper"},
        {"learning_rate": 1e-4},
        {"weight_decay": 0.5},
        {"optimizer": "adam"},
        {"schedule": "constant"},
        {"augment": False},
        {"start_epochs": 5},
    ],
)
def test_what_every_defence_reads_decides_every_run(defense: str, change: dict[str, Any]):
    base = TrainConfig(defense=defense)
    assert TrainConfig(**{**base.to_dict(), **change}).deciding() != base.deciding()


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize(
    ("change", "augment", "read"),
    [
        ({"averaging": 2.0}, True, lambda base: True),
        ({"distort": True}, True, lambda base: True),
        ({"distort": True}, False, lambda base: False),
        ({"prior": 0.5}, True, lambda base: base.row.teacher is None),
        ({"views": True}, True, lambda base: base.row.teacher is not None),
        ({"halves": "apart"}, True, lambda base: base.crafts and base.row.objective == "cross-entropy"),
        ({"eps_spread": 1.0}, True, lambda base: base.crafts),
    ],
)
def test_a_later_option_decides_where_it_is_read(
    defense: str, change: dict[str, Any], augment: bool, read: Callable[[TrainConfig], bool]
):
    base = TrainConfig(defense=defense, augment=augment)
    changed = TrainConfig(**{**base.to_dict(), **change})
    assert (changed.deciding() != base.deciding()) is read(base)


def test_the_full_preset_changes_the_schedule_and_the_records_not_the_attack():
    """Single steps as in `fast`; and what a network starts from is `none` of the same preset."""
    fast, full = make_config(preset="fast"), make_config(preset="full")
    assert all(getattr(full, name) == getattr(fast, name) for name in ("crafting", "noise", "kernels", "mix", "batch"))
    assert full.distort and full.views and full.halves == "apart" and full.epochs > fast.epochs
    start = full.start()
    assert start is not None and start.deciding() == make_config(preset="full", defense="none").deciding()


def test_a_start_is_the_same_for_every_defence_and_length_of_fine_tuning():
    """Its own epochs count, those of what follows do not."""
    first, second = (TrainConfig(defense=d, epochs=e, start_epochs=9) for d, e in (("adt", 4), ("trades", 5)))
    starts = [config.start().deciding() for config in (first, second)]
    assert starts[0] == starts[1] and starts[0]["epochs"] == 9
    assert starts[0] != TrainConfig(defense="none", epochs=4, start_epochs=8).deciding()


def test_what_decides_is_taken_from_the_fields():
    names = {field.name for field in fields(TrainConfig)}
    assert all(set(TrainConfig(defense=defense).deciding()) <= names for defense in DEFENSES)
