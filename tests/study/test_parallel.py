"""Long work that goes on where it was interrupted."""

import pytest

from dtreward.study.parallel import finish


@pytest.mark.parametrize(("jobs", "backend"), [(1, "loky"), (2, "loky"), (2, "threading")])
def test_an_interrupted_work_keeps_what_is_done_and_does_only_the_rest(jobs, backend):
    done = {}
    with pytest.raises(ZeroDivisionError):
        finish(done, divmod, {"first": (7, 2), "second": (1, 0)}, jobs=1)
    assert done == {"first": (3, 1)}
    work = {"second": (9, 2), "first": (0, 0)}  # the first would fail if it were done again
    assert finish(done, divmod, work, jobs=jobs, backend=backend) == [(4, 1), (3, 1)]


def test_nothing_left_calls_nothing():
    assert finish({"one": 1}, divmod, {"one": (0, 0)}) == [1]


def test_a_backend_that_joblib_does_not_know_is_refused():
    with pytest.raises(ValueError, match="Invalid backend: nobody"):
        finish({}, divmod, {"one": (1, 1)}, jobs=2, backend="nobody")
