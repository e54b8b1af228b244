"""Who reads pictures in several threads silences no warning of others for good."""

import warnings

import pytest

from realface.quiet import quiet


def test_who_leaves_first_undoes_nothing_for_the_other() -> None:
    before, one, other = list(warnings.filters), quiet(), quiet()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    warnings.warn("not heard", stacklevel=1)  # an error, if it were
    other.__exit__(None, None, None)
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="heard again"):
        warnings.warn("heard again", stacklevel=1)
