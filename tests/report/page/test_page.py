import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from audits import example_audit
from pages import Node, read, record

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import VERDICTS, Audit, Check, Decision, Picture, Rate, Score, Span, Verdict
from edgeguard.intended_use import INTENDED_USE, NOT_A_MEDICAL_DEVICE
from edgeguard.report.page.page import SECTIONS, render, write_report

SECTION_KEYS = [
    "conditions",
    "robustness",
    "classes",
    "ecgs",
    "black-box",
    "masking",
    "ladder",
    "confidence",
    "stream",
    "bill",
    "provenance",
]
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def section(page: Node, key: str) -> Node:
    return page.one("section", id=key)


def test_the_verdict_comes_first(page: Node) -> None:
    assert page.one("h1").text == "adt-edge-m-int8.onnx"
    headings = [one.text for one in page.one("header").every("h2")][:2]
    assert headings == ["Export Survives", "Robustness Survives"]
    before = page.one("body").text.split("Survives")[0]
    assert "%" not in before
    title = page.one("head").one("title").text
    assert title.startswith("Export survives, robustness survives: adt-edge-m-int8.onnx")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_verdict_has_a_word_a_shape_and_reasons(verdict: str) -> None:
    answer = Verdict(verdict, ("first, with 3 figures", "second"))
    page = read(render(example_audit(verdict=verdict, reasons=answer.reasons, export=answer)))
    banner, key = page.one("header"), verdict.replace(" ", "-")
    assert key in banner.attributes["class"]
    export = banner.every("section")[0]
    assert export.one("h2").text == f"Export {verdict.capitalize()}"
    assert export.one("use").attributes["href"] == f"#mark-{key}"
    assert page.one("symbol", id=f"mark-{key}")
    assert [item.text for item in export.one("ul", class_="reasons").every("li")] == [
        "First, with 3 figures.",
        "Second.",
    ]


def test_every_verdict_has_a_shape_of_its_own(page: Node) -> None:
    keys = [verdict.replace(" ", "-") for verdict in VERDICTS]
    shapes = {str(page.one("symbol", id=f"mark-{key}").every("path")[0].attributes["d"]) for key in keys}
    assert len(shapes) == len(VERDICTS)


def test_many_reasons_are_folded(audit: Audit) -> None:
    answer = Verdict("degraded", tuple(f"reason {i}" for i in range(9)))
    export = read(render(replace(audit, export=answer))).one("header").every("section")[0]
    assert export.one("summary").text == "4 more"
    assert len(export.every("li")) == 9


def test_the_sections_stand_in_order_and_the_list_leads_to_them(page: Node) -> None:
    keys = [node.attributes["id"] for node in page.every("section") if "id" in node.attributes]
    assert keys == [*SECTION_KEYS, "intended-use"]
    assert [link.attributes["href"] for link in page.one("nav").every("a")] == [f"#{key}" for key in SECTION_KEYS]
    assert len(SECTIONS) == len(SECTION_KEYS)


def test_what_it_is_for_stands_at_the_end(page: Node) -> None:
    text = section(page, "intended-use").text
    assert INTENDED_USE in text and NOT_A_MEDICAL_DEVICE in text


def test_headings_step_by_one(page: Node) -> None:
    levels = [int(node.tag[1]) for node in walk(page) if re.fullmatch("h[1-6]", node.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def walk(node: Node) -> list[Node]:
    found = []
    for child in node.content:
        if isinstance(child, Node):
            found += [child, *walk(child)]
    return found


def test_every_id_is_there_once_and_every_reference_has_one(page: Node) -> None:
    nodes = walk(page)
    ids = [node.attributes["id"] for node in nodes if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in nodes:
        for name in ("href", "aria-labelledby"):
            if name in node.attributes:
                assert node.attributes[name].lstrip("#") in ids


def test_nothing_is_fetched(page: Node, html: str) -> None:
    for node in walk(page):
        assert node.tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in node.attributes
        assert node.attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in node.attributes)
        assert "http" not in " ".join(v for k, v in node.attributes.items() if k != "http-equiv")
    style = page.one("style").text
    assert "@import" not in style and re.findall(r"url\(([^)]*)\)", style) == ["#hatch"]
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_every_figure_has_a_caption_a_sentence_and_an_alternative(page: Node) -> None:
    figures = page.every("figure")
    assert len(figures) >= 14
    for figure in figures:
        caption = figure.one("figcaption")
        assert caption.one("h3").text.strip()
        assert caption.one("p").text.strip().endswith(".")
        if figure.every("table"):
            continue
        spoken = [node for node in walk(figure) if node.attributes.get("role") == "img"]
        assert len(spoken) == 1
        assert len(spoken[0].attributes["aria-label"]) > 60
        assert re.search(r"\d", spoken[0].attributes["aria-label"])


def test_every_drawing_is_spoken_of_or_hidden(page: Node) -> None:
    for node in page.every("svg"):
        above = node.parent
        inside = above is not None and (above.within("svg") or above.tag == "svg" or above.has("role", "img"))
        assert inside or node.attributes.get("aria-hidden") == "true" or node.attributes.get("role") == "img"


def test_tables_have_captions_and_scopes(page: Node) -> None:
    tables = page.every("table")
    assert len(tables) > 15
    for table in tables:
        assert table.one("caption").text.strip()
        columns = table.one("thead").every("th")
        assert all(head.attributes["scope"] == "col" for head in columns)
        for row in table.one("tbody").every("tr"):
            assert row.one("th").attributes["scope"] == "row"
            assert len(row.every("td")) == len(columns) - 1
        frame = table.parent
        assert frame is not None and frame.has("class_", "scroll") and frame.attributes["tabindex"] == "0"


def test_alternatives_tell_the_figures_that_are_drawn(page: Node) -> None:
    drawn = page.one("figure", id="accuracy-against-eps").one("svg", role="img").attributes["aria-label"]
    assert "int8 file: 81.9\u00a0% clean, 77.2\u00a0% at 10\u00a0µV, 67.2\u00a0% at 50\u00a0µV" in drawn
    lost = page.one("figure", id="lost-by-export").one("svg", role="img").attributes["aria-label"]
    assert "at 10\u00a0µV −0.1 [−0.9, +0.6] points, n = 768, survives" in lost


def test_the_file_lies_where_its_accuracy_is(page: Node) -> None:
    """81.9 % of an axis from 238 down to 12 is at 52.8; the radii stand to scale between 64 and 414."""
    drawn = page.one("figure", id="accuracy-against-eps").one("svg", role="img")
    main = next(path for path in drawn.every("path") if path.has("class_", "main"))
    places = [[float(v) for v in pair.split()] for pair in main.attributes["d"][1:].split("L")]
    assert [x for x, _ in places] == pytest.approx([64, 64 + 70, 414], abs=0.01)
    assert places[0][1] == pytest.approx(238 - 226 * 629 / 768, abs=0.01)


def test_atrial_fibrillation_comes_first(page: Node) -> None:
    figure = page.one("figure", id="by-class")
    names = [text.text for text in figure.every("text", class_="value")]
    assert names == ["AF", "Normal", "Other", "Noise"]
    lead = section(page, "classes").one("p", class_="lead").text
    assert lead.startswith("Sensitivity to AF, n = 67: 79.1\u00a0% [67.9, 87.1] clean, ")


def test_confusions_have_their_counts_and_shades(page: Node) -> None:
    table = page.one("figure", id="confusions").every("table")[0]
    assert "int8 file, clean" in table.one("caption").text
    row = table.one("tbody").every("tr")[1]
    assert [cell.text for cell in row.every("td")] == ["4", "53", "8", "2", "79.1\u00a0%"]
    assert row.every("td")[1].attributes["style"] == "--share: 0.79"


def test_conditions_that_fail_are_not_folded() -> None:
    checks = (
        Check("fine", "clean", True, 1.0, 0.5, "it is fine", sense="least"),
        Check("open", "data", None, 3.0, 10.0, "too few; about 12 would tell", 12, sense="least"),
        Check("bad", "clean", False, 0.25, 0.5, "it is bad", sense="least", low=0.125, high=0.375),
    )
    part = section(read(render(example_audit(checks=checks))), "conditions")
    assert "3 conditions: 1 fail, 1 undecided and 1 hold." in part.text
    table = part.every("table")[0]
    assert not table.within("details")
    rows = [[cell.text for cell in row.every("td")] for row in table.one("tbody").every("tr")]
    assert rows == [
        ["fails", "0.25 [0.125, 0.375]", "at least 0.5", "It is bad.", "clean"],
        ["undecided", "3", "at least 10", "Too few; about 12 would tell.", "data"],
    ]


def test_the_time_line_is_true_to_its_seconds(page: Node) -> None:
    """240 s between 92 and 976 px: AF is known from 75 to 165 s, announced from 92 to 178 s."""
    drawn = page.one("figure", id="time-line").one("svg", role="img")
    second = (976 - 92) / 240
    known = drawn.every("rect", class_="truth")[1].attributes
    assert float(known["x"]) == pytest.approx(92 + 75 * second, abs=0.01)
    assert float(known["width"]) == pytest.approx(90 * second, abs=0.01)
    told = drawn.one("rect", class_="announced").attributes
    assert float(told["x"]) == pytest.approx(92 + 92 * second, abs=0.01)
    void = drawn.every("rect", class_="void")
    assert [float(v.attributes["width"]) for v in void] == pytest.approx([29 * second, 5 * second], abs=0.01)


def test_the_bill_is_told(page: Node) -> None:
    text = section(page, "bill").text
    for part in ("29.2 million multiply-accumulates", "STM32U575ZI-Q", "326 – 486", "76\u00a0KiB"):
        assert part in text


def test_the_command_can_be_repeated(page: Node, audit: Audit) -> None:
    assert section(page, "provenance").one("code").text == audit.provenance.command
    assert audit.model.sha256 in section(page, "provenance").text


MISSING = {
    "black_box": ({"black_box": None}, "black-box", "No black-box attack was made."),
    "stream": ({"stream": None}, "stream", "The file was not played as a stream."),
    "bill": ({"bill": None}, "bill", "Nothing could be billed"),
    "confidence": ({"confidence": None}, "confidence", "Nothing was made of probabilities"),
    "pictures": ({"pictures": ()}, "ecgs", "No attacked record is drawn"),
    "masking": ({"masking": ()}, "masking", "No masking check was made"),
    "ladder": ({"ladder": ()}, "ladder", "The ladder was not climbed."),
    "classes": ({"classes": ()}, "classes", "not divided into classes"),
    "snr": ({"snr": ()}, "classes", "not divided into bands"),
    "survival": ({"survival": ()}, "robustness", "no float form to hold the file against"),
    "scores": ({"scores": ()}, "robustness", "No form was scored"),
    "checks": ({"checks": (), "verdict": "inconclusive", "reasons": ()}, "conditions", "No condition was set."),
}


@pytest.mark.parametrize("part", MISSING)
def test_what_is_missing_is_told_why(audit: Audit, part: str) -> None:
    changes, key, why = MISSING[part]
    page = read(render(replace(audit, **changes)))
    assert why in section(page, key).text


def test_an_audit_of_next_to_nothing_renders() -> None:
    changes = {name: value for changed, _, _ in MISSING.values() for name, value in changed.items()}
    page = read(render(example_audit(**changes, thresholds={}, files={})))
    assert page.one("header").every("h2")[0].text == "Export Survives"
    assert not page.every("figure")


def test_the_quick_size_with_one_budget() -> None:
    example = example_audit()
    one = tuple(score for score in example.scores if score.eps_uv <= 10)
    groups = tuple(replace(g, attacked={"10": g.attacked["10"]}) for g in example.classes)
    confidence = example.confidence
    assert confidence is not None and confidence.abstention is not None
    abstention = replace(confidence.abstention, attacked_coverage=None, attacked_accuracy=None)
    audit = example_audit(
        size="quick",
        scores=one,
        survival=example.survival[:1],
        classes=groups,
        confidence=replace(confidence, abstention=abstention),
    )
    page = read(render(audit))
    assert page.one("header").every("h2")[1].text == "Robustness Screened"
    assert "answered, attacked" not in section(page, "confidence").text
    assert "50\u00a0µV" not in section(page, "robustness").text


def test_a_torch_form_is_drawn_beside_the_files(audit: Audit) -> None:
    trained = tuple(replace(score, form="torch") for score in audit.scores if score.form == "fp32")
    figure = read(render(replace(audit, scores=(*trained, *audit.scores)))).one("figure", id="accuracy-against-eps")
    assert [item.text for item in figure.one("ul").every("li")] == [
        "int8 file, audited",
        "torch, as trained",
        "fp32 file",
    ]


def test_a_float_file_is_what_its_page_is_about(audit: Audit) -> None:
    floats = tuple(score for score in audit.scores if score.form == "fp32")
    audit = replace(audit, model=replace(audit.model, form="fp32", input_step_uv=None), scores=floats, survival=())
    text = section(read(render(audit)), "robustness").text
    assert "fp32 file, audited" in text and "int8" not in text.replace(
        "Not scored: torch, as trained and int8 file.", ""
    )


def test_nothing_found_is_drawn_as_nothing(audit: Audit) -> None:
    """No distance is known, no class has records, nobody heard anything."""
    assert audit.black_box is not None and audit.stream is not None
    nothing = tuple(replace(p, median_l2_uv=math.inf, median_linf_uv=math.nan) for p in audit.black_box.curve)
    nobody = Rate(math.nan, 0.0, 1.0, 0)
    classes = (
        *audit.classes[:-1],
        replace(audit.classes[-1], n=0, clean=nobody, attacked={"10": nobody, "50": nobody}),
    )
    unheard = replace(audit.stream, compiled=False, message="same padding", decisions=(), scores=(), macs_per_hop=None)
    changed = replace(
        audit, black_box=replace(audit.black_box, curve=nothing, witnesses=None), classes=classes, stream=unheard
    )
    html = render(changed)
    page = read(html)
    assert not re.search(r"\b(nan|inf)\b", html.replace("L-inf", ""), flags=re.I)
    assert "L2 from not reached to not reached" in html
    assert "no records" in section(page, "classes").text
    assert "could not be compiled to a streaming file: Same padding." in section(page, "stream").text


def test_a_masked_black_box_says_so(audit: Audit) -> None:
    assert audit.black_box is not None
    page = read(render(replace(audit, black_box=replace(audit.black_box, masked=True))))
    assert "Masked:" in section(page, "black-box").text


def test_foreign_classes_keep_their_names(audit: Audit) -> None:
    names = ("SR", "AFIB", "VT", "A")
    group = tuple(replace(g, name=name) for g, name in zip(audit.classes, names, strict=True))
    changed = replace(audit, model=replace(audit.model, classes=names), classes=group)
    page = read(render(changed))
    drawn = [text.text for text in page.one("figure", id="by-class").every("text", class_="value")]
    assert drawn == ["AFIB", "A", "SR", "VT"]
    assert "Noise" not in section(page, "classes").text


def hostile(audit: Audit) -> Audit:
    """Names that a stranger chose, wherever an audit holds text."""
    names = tuple(f"{HOSTILE}{i}" for i in range(4))
    assert audit.stream is not None and audit.black_box is not None
    return replace(
        audit,
        reasons=(HOSTILE,),
        size=HOSTILE,
        model=replace(audit.model, path=HOSTILE, classes=names, arch=HOSTILE, defense=HOSTILE, compared_with=HOSTILE),
        data=replace(audit.data, source=HOSTILE, part=HOSTILE, by_class={HOSTILE: 1}),
        checks=tuple(replace(check, name=HOSTILE, reason=HOSTILE) for check in audit.checks),
        ladder=tuple({**rung, "name": HOSTILE, "note": HOSTILE} for rung in audit.ladder),
        classes=tuple(replace(group, name=name) for group, name in zip(audit.classes, names, strict=True)),
        snr=tuple(replace(group, name=HOSTILE) for group in audit.snr),
        stream=replace(
            audit.stream,
            signal=HOSTILE,
            message=HOSTILE,
            truth=(Span(HOSTILE, 0, 99),),
            episodes=(Span(HOSTILE, 5, 150),),
        ),
        black_box=replace(audit.black_box, attack=HOSTILE, witnesses=HOSTILE),
        thresholds={HOSTILE: {HOSTILE: HOSTILE}},
        files={HOSTILE: HOSTILE},
        pictures=tuple(replace(p, record=HOSTILE, true=HOSTILE, attack=HOSTILE) for p in audit.pictures),
        provenance=replace(audit.provenance, command=HOSTILE, date=HOSTILE, processor={HOSTILE: HOSTILE}),
    )


def test_names_of_strangers_are_text(audit: Audit) -> None:
    html = render(hostile(audit))
    assert "<script" not in html and "<img" not in html
    page = read(html)
    assert not page.every("script") and not page.every("img")
    assert HOSTILE in page.one("code").text
    assert HOSTILE in page.one("figure", id="by-class").one("svg", role="img").attributes["aria-label"]


def large_audit() -> Audit:
    """Every budget, every form, a day of decisions and four noisy records with weights."""
    example = example_audit()
    radii = (5.0, 10.0, 25.0, 50.0, 100.0, 200.0)
    score = example.scores[0]
    scores = tuple(
        replace(score, form=form, attack=attack, eps_uv=eps)
        for form in ("torch", "fp32", "int8")
        for attack, eps in [("clean", 0.0), *((a, e) for a in ("pgd", "sap", "worst case") for e in radii)]
    )
    rng = np.random.default_rng(0)
    decisions = tuple(
        Decision(43.2 * (i + 1), "scored", tuple(rng.dirichlet([1, 1, 1, 1]).tolist())) for i in range(2000)
    )
    spans = tuple(Span("NAO"[i % 3], 432.0 * i, 432.0 * (i + 1)) for i in range(200))
    assert example.stream is not None
    return replace(
        example,
        scores=scores,
        survival=tuple(replace(example.survival[0], eps_uv=eps) for eps in radii),
        stream=replace(example.stream, decisions=decisions, truth=spans, episodes=spans[1::3]),
        pictures=tuple(record(30.0, seed=seed, name=f"A{seed}") for seed in range(4)),
    )


def test_the_largest_audit_stays_small() -> None:
    """Below 3 MB by contract; noise, which nothing compresses, stays below a third of it."""
    assert len(render(large_audit()).encode()) < 1_000_000


def test_the_file_is_written_whole_or_not_at_all(audit: Audit, html: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(audit, path)
    assert path.read_text(encoding="utf-8") == html
    with pytest.raises(InputError):
        write_report(audit, path / "below-a-file.html")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_same_audit_makes_the_same_page(audit: Audit, html: str) -> None:
    assert render(audit) == html


def test_scores_of_an_unknown_kind_are_listed(audit: Audit) -> None:
    odd = Score("onnx16", 10.0, "cw", audit.scores[0].accuracy, audit.scores[0].f1, audit.scores[0].confusion)
    assert "onnx16" in section(read(render(replace(audit, scores=(*audit.scores, odd)))), "robustness").text


def test_a_picture_of_a_file_without_a_twin(audit: Audit) -> None:
    bare: Picture = replace(audit.pictures[0], clean_saliency=None, attacked_saliency=None)
    text = section(read(render(replace(audit, pictures=(bare,)))), "ecgs").text
    assert "for want of a twin" in text
