from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.apple_watch import is_export, parse
from edgeguard.ecg.sources import iter_records
from edgeguard.errors import InputError

VALUES = [-265.868, -271.819, 12.0, 0.5, 150.141]
POINT = "-265.868\n-271.819\n12\n0.5\n150.141\n"
COMMA = POINT.replace(".", ",")

ENGLISH = """Name,Jo Doe
Date of Birth,"Jan 4, 1992"
Recorded Date,2026-08-26 18:15:35 +0100
Classification,Sinus Rhythm
Symptoms,
Software Version,1.90
Device,"Watch6,7"
Sample Rate,512 hertz


Lead,Lead I
Unit,µV

"""
GERMAN = """Name
Geburtstag,"27.03.1987"
Aufzeichnungsdatum,2020-07-31 22:48:19 +0200
Klassifizierung,Sinusrhythmus
Symptome,
Softwareversion,1.13
Gerät,"Watch4,2"
Messrate,511,562\N{NO-BREAK SPACE}Hertz


Ableitung,Ableitung I
Einheit,µV

"""
SPANISH = ENGLISH.replace("Sample Rate,512 hertz", "Frecuencia de muestreo,512 hercios").replace("Unit,", "Unidad,")
RUSSIAN = ENGLISH.replace("Sample Rate,512 hertz", "Частота дискретизации,512 Гц").replace("Unit,", "Единица,")
JAPANESE = ENGLISH.replace("Sample Rate,512 hertz", "サンプルレート,512ヘルツ").replace("Unit,", "単位,")
SWEDISH = ENGLISH.replace("Sample Rate,512 hertz", "Samplingsfrekvens,511,422 hertz").replace("Unit,", "Enhet,")

VARIANTS: dict[str, tuple[bytes, float]] = {
    "english": ((ENGLISH + POINT).encode(), 512.0),
    "Hz": ((ENGLISH.replace("512 hertz", "512 Hz") + POINT).encode(), 512.0),
    "Hz without a space": ((ENGLISH.replace("512 hertz", "512Hz") + POINT).encode(), 512.0),
    "decimals in the rate": ((ENGLISH.replace("512 hertz", "512.000 Hz") + POINT).encode(), 512.0),
    "decimal comma in the rate": ((ENGLISH.replace("512 hertz", "512,000 Hz") + COMMA).encode(), 512.0),
    "about 511 Hz": ((ENGLISH.replace("512 hertz", "511.422 hertz") + POINT).encode(), 511.422),
    "quoted rate": ((ENGLISH.replace("512 hertz", '"511,422 hertz"') + COMMA).encode(), 511.422),
    "byte-order mark": ((ENGLISH + POINT).encode("utf-8-sig"), 512.0),
    "UTF-16": ((ENGLISH + POINT).encode("utf-16"), 512.0),
    "CP1252": ((GERMAN + COMMA).encode("cp1252"), 511.562),
    "Windows line ends": ((ENGLISH + POINT).replace("\n", "\r\n").encode(), 512.0),
    "german": ((GERMAN + COMMA).encode(), 511.562),
    "spanish": ((SPANISH + COMMA).encode(), 512.0),
    "russian": ((RUSSIAN + COMMA).encode(), 512.0),
    "japanese": ((JAPANESE + POINT).encode(), 512.0),
    "swedish, minus sign": ((SWEDISH + COMMA).replace("\n-", "\n\N{MINUS SIGN}").encode(), 511.422),
    "semicolons": (
        (ENGLISH.replace(",", ";").replace("Watch6;7", "Watch6,7") + COMMA.replace("\n", ";\n")).encode(),
        512.0,
    ),
    "quoted samples": ((ENGLISH + "".join(f'"{v}"\n' for v in COMMA.split())).encode(), 512.0),
    "no name, no symptoms": (("\n".join(ENGLISH.split("\n")[2:]) + POINT).encode(), 512.0),
    "greek mu": ((ENGLISH.replace("µV", "\N{GREEK SMALL LETTER MU}V") + POINT).encode(), 512.0),
    "millivolts": (
        (ENGLISH.replace("µV", "mV") + "-0.265868\n-0.271819\n0.012\n0.0005\n0.150141\n").encode(),
        512.0,
    ),
    "volts": (
        (ENGLISH.replace("µV", "V") + "-2.65868e-4\n-2.71819e-4\n1.2e-5\n5e-7\n1.50141E-4\n").encode(),
        512.0,
    ),
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], tuple[np.ndarray, float]]:
    """Writes an export as the Health app names it and reads it as any CSV record is read."""

    def of(content: bytes) -> tuple[np.ndarray, float]:
        (tmp_path / "ecg_2026-08-26.csv").write_bytes(content)
        (record,) = iter_records(str(tmp_path / "ecg_2026-08-26.csv"))
        assert record.name == "ecg_2026-08-26" and record.label is None
        return record.ecg, record.sampling_rate

    return of


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_the_same_microvolts(name: str, read) -> None:
    content, rate = VARIANTS[name]
    ecg, sampling_rate = read(content)
    assert ecg.dtype == np.float32 and sampling_rate == rate
    np.testing.assert_allclose(ecg, VALUES, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-5_000_000, 5_000_000), min_size=1, max_size=30),
    decimal_comma=st.booleans(),
    header=st.sampled_from([ENGLISH, GERMAN, RUSSIAN]),
)
def test_what_is_written_is_read(values: list[int], decimal_comma: bool, header: str) -> None:
    text = "\n".join(f"{value / 1000:.3f}" for value in values)
    lines = (header + (text.replace(".", ",") if decimal_comma else text)).splitlines()
    ecg, _ = parse("x.csv", lines)
    np.testing.assert_array_equal(ecg, (np.array(values) / 1000).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENGLISH, "holds no samples"),
        (ENGLISH + "1.234,5\n", "line 14: '1.234,5' is not one number"),
        (ENGLISH + "1 234,5\n", "line 14: '1 234,5' is not one number"),
        (ENGLISH + "12\nlead off\n", "line 15: 'lead off' is not one number"),
        (ENGLISH + "12\nnan\n", "line 15: 'nan'"),
        (ENGLISH + "12\n3,4,5\n", "line 15: '3,4,5'"),
        (ENGLISH + "12.5\n12,5\n", "decimal points and decimal commas in one file"),
        (ENGLISH.replace("Unit,µV\n", "") + POINT, "no line states the unit"),
        (ENGLISH.replace("512 hertz", "5 hertz") + POINT, "line 8: 5 Hz is no sampling rate"),
        (ENGLISH.replace("512 hertz", "512000.0 Hz") + POINT, "line 8: 512000.0 Hz is no sampling rate"),
    ],
)
def test_bad_exports_are_refused_by_line(text: str, message: str, read) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(text.encode())
    assert "ecg_2026-08-26.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["# sampling_rate: 300\necg\n100\n", "time,ecg\n0,-127\n", "1.5\n512\n", ""])
def test_a_plain_csv_is_no_export(text: str) -> None:
    assert not is_export(text.splitlines())


def test_the_phones_own_zip_is_read_as_it_is(pack_zip) -> None:
    files = {f"apple_health_export/electrocardiograms/ecg_{day}.csv": VARIANTS["english"][0] for day in (1, 2)}
    path = pack_zip(files | {"apple_health_export/export.xml": b"<HealthData/>"})
    assert [record.name for record in iter_records(str(path))] == ["ecg_1", "ecg_2"]


def test_a_folder_may_hold_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "watch.csv").write_bytes(VARIANTS["german"][0])
    (tmp_path / "plain.csv").write_text("100\n200\n")
    rates = {record.name: record.sampling_rate for record in iter_records(str(tmp_path))}
    assert rates == {"plain": 300.0, "watch": 511.562}
