"""The door for pictures, pushed at random: any bytes give a picture or a typed error. For more: benchmarks/fuzz.py."""

import importlib.util
import random
from pathlib import Path

import pytest
from helpers import face
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realface import errors
from realface.images import FORMATS, decode

spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).parents[1] / "benchmarks" / "fuzz.py")
assert spec
assert spec.loader
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_cut_is_typed(kind: str) -> None:
    data = fuzz.encoded(face().crop((0, 0, 32, 32)), kind)
    for length in range(0, len(data), 1 + len(data) // 150):
        assert fuzz.outcome(data[:length]) in {"ok", "empty", "not_an_image", "truncated"}


@pytest.mark.parametrize("name", fuzz.hostile())
def test_hostile_files_are_refused_before_they_cost_time(name: str) -> None:
    assert fuzz.outcome(fuzz.hostile()[name]) in {"truncated", "too_many_pixels"}


def test_undamaged_files_are_fine() -> None:
    assert {fuzz.outcome(data) for data in fuzz.seeds()} == {"ok"}


@pytest.mark.parametrize("mutation", list(dict.fromkeys(fuzz.MUTATIONS)), ids=lambda mutation: mutation.__name__)
def test_every_mutation_does_harm(mutation: object) -> None:
    rng = random.Random(0)
    files = [(data, mutation(data, fuzz.seeds()[0], rng)) for data in fuzz.seeds()]  # type: ignore[operator]
    assert sum(before != after for before, after in files) > len(files) / 2
    assert len({fuzz.outcome(after) for _, after in files}) > 1


@settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.randoms(use_true_random=False))
def test_damaged_files_give_a_picture_or_a_typed_error(rng: random.Random) -> None:
    assert fuzz.outcome(fuzz.mutated(rng.choice(fuzz.seeds()), rng.choice(fuzz.seeds()), rng)) in fuzz.CODES


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"\0\0\0\x18ftypheic"]),
)
def test_any_bytes(body: bytes, start: bytes) -> None:
    with pytest.raises(errors.ImageError):
        decode(start + body)
