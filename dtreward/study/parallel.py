"""Long work of a notebook: done side by side, and continued after an interruption."""

from collections.abc import Callable, Hashable, Mapping, MutableMapping
from typing import Any

from tqdm.auto import tqdm

try:
    import joblib
except ImportError as error:
    raise ImportError('parallel work needs joblib: pip install "dtreward[study]"') from error


def finish(
    done: MutableMapping[Hashable, Any],
    function: Callable[..., Any],
    work: Mapping[Hashable, tuple],
    *,
    jobs: int = 1,
    backend: str = "loky",
) -> list[Any]:
    """Call a function for each piece of work that is not done yet, and give all results in order.

    Each result enters `done` as it arrives. If a cell is interrupted and run again, only the rest
    is computed. A progress bar counts what is left.

    Args:
        done: results so far, by the keys of `work`; changed in place.
        function: called with the arguments of one piece of work.
        work: the arguments of each piece, by its key.
        jobs: workers; -1 means one a core.
        backend: joblib's "loky" (processes) or "threading", or "ray", which hands over all results
            at the end.

    Example:
        >>> done = {"a": 1}
        >>> finish(done, pow, {"a": (1, 2), "b": (3, 2)})
        [1, 9]
        >>> done
        {'a': 1, 'b': 9}
    """
    left = [key for key in work if key not in done]
    results = _workers(jobs, backend)(joblib.delayed(function)(*work[key]) for key in left)
    progress = tqdm(results, total=len(left), disable=not left)
    for key, result in zip(left, progress, strict=True):
        done[key] = result
    return [done[key] for key in work]


def _workers(jobs: int, backend: str) -> joblib.Parallel:
    if backend != "ray":
        return joblib.Parallel(n_jobs=jobs, backend=backend, return_as="generator")
    from ray.util.joblib import register_ray

    register_ray()
    return joblib.Parallel(n_jobs=jobs, backend=backend)
