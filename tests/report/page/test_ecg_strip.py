import re
from dataclasses import replace
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from pages import parse_svg, record

from edgeguard.evaluation.audit.result import Picture
from edgeguard.report.page.ecg_strip import COARSE, lanes_of, most_telling, strip


def flat(ecg_uv: float = 0.0, delta_uv: float = 0.0, *, seconds: float = 10.0, rate: float = 300.0) -> Picture:
    """A record that stands at one voltage, moved by another."""
    picture = record(seconds, rate=rate)
    ecg = np.full(len(picture.ecg), ecg_uv, np.float32)
    return replace(picture, ecg=ecg, adversarial=ecg + np.float32(delta_uv))


def panels(drawn: str) -> list[Element]:
    return [child for child in parse_svg(drawn).iter("svg") if child.get("class") == "panel"]


def heights(panel: Element, kind: str) -> np.ndarray:
    """Millimetres from the top of the panel of every point of a trace."""
    for lane in panel.iter("svg"):
        for path in lane.findall("path"):
            if path.get("class") == kind:
                box, place = lane.get("viewBox", "").split(), float(lane.get("y", 0))
                start, _, steps = path.get("d", "")[1:].partition("l")
                numbers = [int(n) for n in steps.replace("-", " -").split()]
                y = int(start.split()[1]) + np.cumsum([0, *numbers[1::2]])
                return place + y / float(box[3]) * float(lane.get("height", 0))
    raise AssertionError(f"no {kind}")


def test_five_seconds_are_125_mm() -> None:
    sizes = [(panel.get("width"), panel.get("viewBox", "").split()[2]) for panel in panels(strip(flat(), 0, 3000))]
    assert sizes == [("125mm", "125"), ("125mm", "125")]


def test_a_rest_is_as_long_as_it_lasts() -> None:
    """7 s at 250 Hz: 125 mm and 2 s times 25 mm/s."""
    drawn = panels(strip(flat(seconds=7.0, rate=250.0), 0, 1750))
    assert [panel.get("width") for panel in drawn] == ["125mm", "50mm"]


def test_a_millivolt_is_10_mm() -> None:
    """The paper spans -0.5 to 1.5 mV: 20 mm high, 1 mV lies 5 mm from its top, 0 mV 15 mm."""
    picture = flat()
    ecg = picture.ecg.copy()
    ecg[::2], ecg[0], ecg[1] = 1000, -200, 1400
    picture = replace(picture, ecg=ecg, adversarial=ecg)
    lanes = lanes_of(picture, 0, 3000)
    assert (lanes.low, lanes.high, lanes.paper) == (-0.5, 1.5, 20)
    drawn = heights(panels(strip(picture, 0, 3000))[0], "trace before")
    assert drawn[0] == pytest.approx(17, abs=0.02)
    assert drawn[1] == pytest.approx(1, abs=0.02)
    assert set(np.round(drawn[4:], 2)) == {5.0, 15.0}


def test_the_perturbation_is_magnified_in_its_own_lane() -> None:
    """8 uV in a lane of 16 mm for 1.25 eps of 10 uV each way: 5.12 mm above its middle, 64 times the paper's."""
    picture = flat(100, 8)
    lanes = lanes_of(picture, 0, 3000)
    assert lanes.bound == 12.5
    assert lanes.magnification == pytest.approx(64)
    middle = lanes.paper + 2.5 + 8
    drawn = heights(panels(strip(picture, 0, 3000))[0], "trace difference")
    assert drawn == pytest.approx(middle - 8 / 12.5 * 8, abs=0.02)


def test_eps_lines_lie_at_eps() -> None:
    panel = panels(strip(flat(), 0, 3000))[0]
    middle = lanes_of(flat(), 0, 3000).paper + 2.5 + 8
    lines = sorted(float(line.get("y1", 0)) for line in panel.iter("line") if line.get("class") == "eps")
    assert lines == pytest.approx([middle - 6.4, middle + 6.4])


def test_a_perturbation_beyond_eps_is_not_cut_off() -> None:
    assert lanes_of(flat(0, 40), 0, 3000).bound == pytest.approx(50)


def test_the_pulse_is_a_millivolt_for_a_fifth_of_a_second() -> None:
    gutter = next(child for child in parse_svg(strip(flat(), 0, 3000)).iter("svg") if child.get("class") == "gutter")
    pulse = next(path for path in gutter.iter("path") if path.get("class") == "pulse")
    assert re.fullmatch(r"M5 [\d.]+h2v-10h5v10h2", pulse.get("d", ""))


def test_squares_of_1_and_5_mm() -> None:
    panel = panels(strip(flat(), 0, 3000))[0]
    for kind, step in (("minor", 1), ("major", 5)):
        dashes = [path.get("stroke-dasharray", "").split() for path in panel.iter("path") if path.get("class") == kind]
        assert [sum(map(float, dash)) for dash in dashes] == pytest.approx([step, step])


def test_every_peak_is_drawn_even_coarsely() -> None:
    picture = flat()
    ecg = picture.ecg.copy()
    ecg[1234] = 1400
    drawn = heights(
        panels(strip(replace(picture, ecg=ecg, adversarial=ecg), 0, 3000, columns=COARSE))[0], "trace before"
    )
    assert drawn.min() == pytest.approx(1, abs=0.02)


def test_seconds_are_told_from_the_start_of_the_record() -> None:
    picture = record(20.0, left=150)
    drawn = panels(strip(picture, 150 + 600, 3000))
    assert [text.text for panel in drawn for text in panel.iter("text")] == [str(second) for second in range(2, 12)]


def test_both_weights_have_one_scale() -> None:
    picture = record(10.0)
    before, after = np.zeros(3000, np.float32), np.zeros(3000, np.float32)
    before[:1500], after[:1500] = 1.0, 4.0
    picture = replace(picture, clean_saliency=before, attacked_saliency=after)
    panel = panels(strip(picture, 0, 3000))[0]
    data = {path.get("class"): path.get("d") for path in panel.iter("path") if "weight" in path.get("class", "")}
    assert data == {"weight before": "M0 65V49h250V65Z", "weight after": "M0 65V0h250V65Z"}


def test_without_weights_their_lanes_are_left_out() -> None:
    picture = replace(record(10.0), attacked_saliency=None)
    assert "weight" not in strip(picture, 0, 3000)
    assert lanes_of(picture, 0, 3000).height < lanes_of(record(10.0), 0, 3000).height


def test_the_words_tell_the_figures() -> None:
    picture = flat(100, 8)
    ecg = picture.ecg.copy()
    ecg[0] = 1100
    said = parse_svg(strip(replace(picture, ecg=ecg, adversarial=ecg + np.float32(8)), 0, 3000)).find("div")
    assert said is not None
    label = said.get("aria-label", "")
    for part in ("record A1 from 0 s to 10 s", "It spans 1 mV", "64 times larger", "at most 8 µV", "8 µV in root mean"):
        assert part in label


def test_what_weighs_most_is_shown() -> None:
    """30 s after 2 s of padding; the perturbation weighs most around second 21."""
    picture = record(30.0, left=600)
    weight = np.ones(len(picture.ecg), np.float32)
    weight[600 + 6300 - 150 : 600 + 6300 + 150] = 50
    start, count = most_telling(replace(picture, attacked_saliency=weight), 10.0)
    assert count == 3000
    assert start <= 600 + 6150 and start + count >= 600 + 6450
    assert (start - 600) % 60 == 0
    assert picture.left <= start and start + count <= picture.left + picture.length


def test_without_weights_the_perturbation_alone_decides() -> None:
    picture = replace(record(30.0), attacked_saliency=None)
    adversarial = picture.ecg.copy()
    adversarial[7500:7800] += 10
    start, count = most_telling(replace(picture, adversarial=adversarial), 10.0)
    assert start <= 7500 and start + count >= 7800


def test_a_short_record_is_shown_whole() -> None:
    picture = record(4.0, left=77)
    assert most_telling(picture, 10.0) == (77, 1200)
