"""A detector's description: what is written is read back, and anything else is refused."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realface import DetectorError
from realface.card import FORMAT, KEY, Calibration, Card, Policy, Preprocessing, Thresholds
from realface.evaluation.metrics import METRICS
from realface.rates import MAX_ROWS
from realface.training.finish import largest

CARD = Card(
    name="best",
    version="1.2",
    network="clip-b16",
    preprocessing=Preprocessing(224),
    calibration=Calibration(0.75, -0.25),
    thresholds=Thresholds(0.125, 0.875),
    policy=Policy(0.02, 0.1, "test"),
    licence="MIT",
    data={"sources": ["a", "ü"], "count": 3},
    metrics={"auc": 0.99, "by_source": {"a": None}},
)


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    raw = json.loads(CARD.to_json())
    change(raw)
    return json.dumps(raw)


def test_roundtrip() -> None:
    assert Card.from_json(CARD.to_json()) == CARD
    assert CARD.to_json() == Card.from_json(CARD.to_json()).to_json()
    minimal = Card("a", "1", "n", Preprocessing(32))
    assert Card.from_json(minimal.to_json()) == minimal


def test_json_is_plain_and_stable() -> None:
    raw = json.loads(CARD.to_json())
    assert raw["format"] == FORMAT == 2
    assert raw["labels"] == ["real", "fake"]
    assert raw["preprocessing"] == {"size": 224, "crop": "centre-square", "resample": "bicubic", "window": 0}
    assert list(raw) == sorted(raw)
    assert KEY == "realface"


def test_the_format_before_windows_is_read() -> None:
    def older(raw: dict[str, Any]) -> None:
        raw["format"] = 1
        del raw["preprocessing"]["window"]

    assert Card.from_json(edited(older)).preprocessing == CARD.preprocessing


def test_frozen() -> None:
    for part in (CARD, CARD.preprocessing, CARD.calibration, CARD.thresholds, CARD.policy):
        with pytest.raises(FrozenInstanceError):
            part.name = "other"  # type: ignore[misc, union-attr]


@pytest.mark.parametrize("newer", [3, 99, 0, None, "1", [1]])
def test_another_format(newer: object) -> None:
    with pytest.raises(DetectorError, match="this realface reads 2"):
        Card.from_json(edited(lambda raw: raw.update(format=newer)))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "1", '"text"', "[" * 100_000, "\0", "{}", '{"format": 1}'])
def test_not_a_card(text: str) -> None:
    with pytest.raises(DetectorError, match=r"damaged|format"):
        Card.from_json(text)


@pytest.mark.parametrize("name", sorted(json.loads(CARD.to_json())))
def test_missing_entry(name: str) -> None:
    with pytest.raises(DetectorError):
        Card.from_json(edited(lambda raw: raw.pop(name)))


@pytest.mark.parametrize("part", ["preprocessing", "calibration", "thresholds", "policy"])
@pytest.mark.parametrize("value", [None, 3, "text", [], {"unknown": 1}, [["size", 3]]])
def test_damaged_part(part: str, value: object) -> None:
    with pytest.raises(DetectorError, match="damaged"):
        Card.from_json(edited(lambda raw: raw.update({part: value})))


def test_unknown_entries() -> None:
    with pytest.raises(DetectorError, match="unknown or missing"):
        Card.from_json(edited(lambda raw: raw.update(extra=1)))
    with pytest.raises(DetectorError, match="damaged"):
        Card.from_json(edited(lambda raw: raw["thresholds"].update(extra=1)))


NUMBERS = [None, "1", [], {}, float("nan")]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("name", [None, 1, [], {}]),
        ("version", [None, 1, [], {}]),
        ("network", [None, 1, [], {}]),
        ("licence", [None, 1, [], {}]),
        ("labels", [None, 1, [], ["fake", "real"], ["real"], ["real", "fake", "other"], "realfake"]),
        ("data", [None, 1, [], "text"]),
        ("metrics", [None, 1, [], "text"]),
        ("preprocessing.size", [*NUMBERS, 0, -224, 15, 4097, 224.0, 224.5, float("inf")]),
        ("preprocessing.window", [*NUMBERS, -224, 15, 4097, 128.0]),
        ("preprocessing.crop", [None, 1, "whole", ["centre-square"]]),
        ("preprocessing.resample", [None, 1, "nearest"]),
        ("calibration.scale", [*NUMBERS, 0, -1, 1e6, float("inf")]),
        ("calibration.offset", [*NUMBERS, 1e6, -1e6, float("inf"), float("-inf")]),
        ("thresholds.real_below", [*NUMBERS, -0.1, 0.9, 2]),
        ("thresholds.fake_from", [*NUMBERS, -0.1, 0.1, 1.1, float("inf")]),
        ("policy.max_bpcer", [*NUMBERS, -0.1, 1.1]),
        ("policy.max_apcer", [*NUMBERS, -0.1, 1.1]),
        ("policy.split", [None, 1, []]),
    ],
)
def test_damaged_values(path: str, values: list[object]) -> None:
    *outer, name = path.split(".")
    for value in values:

        def change(raw: dict[str, Any], value: object = value) -> None:
            for key in outer:
                raw = raw[key]
            raw[name] = value

        with pytest.raises(DetectorError, match="damaged"):
            Card.from_json(edited(change))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_any_json_is_refused_with_a_typed_error(data: st.DataObject) -> None:
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
    raw = json.loads(CARD.to_json())
    place = data.draw(st.sampled_from([raw, raw["preprocessing"], raw["calibration"], raw["thresholds"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(junk)
    try:
        card = Card.from_json(json.dumps(raw))
    except DetectorError:
        return
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    ("probability", "answer"),
    [
        (0.0, "real"),
        (0.1249, "real"),
        (0.125, "inconclusive"),
        (0.8749, "inconclusive"),
        (0.875, "fake"),
        (1.0, "fake"),
    ],
)
def test_thresholds(probability: float, answer: str) -> None:
    assert CARD.thresholds.answer(probability) == answer


def test_thresholds_at_the_ends() -> None:
    assert Thresholds(0.5, 0.5).answer(0.5) == "fake"
    never = replace(CARD, thresholds=Thresholds(0.0, 1.0001))
    assert Card.from_json(never.to_json()).thresholds.answer(1.0) == "inconclusive"


def test_of_thousands_of_sources_the_largest_are_told() -> None:
    row = {"real": 0, "fake": 1} | dict.fromkeys(METRICS, 0.123456789)
    sources = {f"{i:05}": row | {"real": i} for i in range(3000)}
    figures = largest({"all": row | {"real": sum(range(3000))}} | sources)
    assert list(figures) == ["all", *list(sources)[-MAX_ROWS + 1 :]]
    card = replace(CARD, metrics={"valid": figures, "test": figures})
    assert Card.from_json(card.to_json()) == card
