"""A module that runs as a copy of a prepared process does what it does as a process of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dtreward.study import warm

SAYS = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ.get("COLOUR"), __name__, "colorsys" in sys.modules)
print("a warning", file=sys.stderr)
sys.exit(3)
"""
WAITS = """
import os, time
print(os.getpid(), flush=True)
time.sleep(60)
"""

SHOWS = """
import sys
was_imported = "pandas" in sys.modules
import pandas
print(was_imported, pandas.options.display.max_columns)
"""

pytestmark = pytest.mark.skipif(not warm.is_possible(), reason="needs Linux without a GPU")


def command(module, *arguments):
    return [sys.executable, "-P", warm.__file__, "-m", module, *arguments]


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    """A process that has imported `colorsys`, and a folder with two modules."""
    monkeypatch.delenv(warm.ADDRESS, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "says.py").write_text(SAYS)
    (tmp_path / "waits.py").write_text(WAITS)
    process = warm.start(["colorsys", "no_such_module"])
    yield process
    warm.stop(process)
    assert warm.ADDRESS not in os.environ


def run(environment=None):
    done = subprocess.run(
        command("says", "a b", "'"), capture_output=True, text=True, env=environment, check=False
    )
    return done.returncode, done.stdout, done.stderr


def until_imported():
    """Wait until the process has imported its modules: it does so between requests."""
    for _ in range(100):
        code, printed, _ = run()
        assert code == 3
        if printed.strip().endswith("True"):
            return
        time.sleep(0.1)
    pytest.fail("colorsys was never imported")


def waiting():
    process = subprocess.Popen(command("waits"), stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def has_ended(number):
    for _ in range(100):
        if not os.path.exists(f"/proc/{number}"):
            return True
        time.sleep(0.1)
    return False


def test_a_copy_has_the_imports_and_its_own_arguments_folder_environment_and_status(
    prepared, tmp_path
):
    until_imported()
    environment = os.environ | {"COLOUR": "grün"}
    code, printed, warned = run(environment)
    assert (code, warned) == (3, "a warning\n")
    assert printed == f"{['a b', chr(39)]} {tmp_path} grün __main__ True\n"
    del environment[warm.ADDRESS]
    assert run(environment) == (code, printed.replace("True", "False"), warned)


def test_a_copy_shows_as_many_columns_as_a_kernel_that_imports_pandas_itself(monkeypatch, tmp_path):
    monkeypatch.delenv(warm.ADDRESS, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shows.py").write_text(SHOWS)
    process = warm.start(["pandas"])
    printed = ""
    for _ in range(100):
        done = subprocess.run(command("shows"), capture_output=True, text=True, check=True)
        printed = done.stdout.strip()
        if printed.startswith("True"):
            break
    warm.stop(process)
    assert printed == "True 20"
    code = "get_ipython = lambda: __import__('types').SimpleNamespace(kernel=1); import builtins"
    code += "; builtins.get_ipython = get_ipython; import pandas"
    code += "; print(pandas.options.display.max_columns)"
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert alone.stdout.strip() == "20"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_copy_and_its_end_the_asker(prepared, number):
    process, copy = waiting()
    process.send_signal(number)
    assert process.wait(20) == -number
    assert has_ended(copy)


def test_a_killed_asker_leaves_no_copy(prepared):
    process, copy = waiting()
    process.kill()
    process.wait(20)
    assert has_ended(copy)
    assert run()[0] == 3


def test_a_killed_copy_is_reported(prepared):
    process, copy = waiting()
    os.kill(copy, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL


def test_copies_end_with_the_process_even_if_it_is_killed(prepared):
    process, copy = waiting()
    prepared.kill()
    assert has_ended(copy)
    assert process.wait(20) == 1


def test_copies_and_askers_that_end_together_leave_the_process_alive(prepared):
    for _ in range(20):
        process, copy = waiting()
        os.kill(copy, signal.SIGKILL)
        process.kill()
        process.wait(20)
    assert run()[0] == 3
    assert prepared.poll() is None


def test_the_end_of_the_study_ends_the_process_and_its_copies(prepared):
    process, copy = waiting()
    folder = os.path.dirname(os.environ[warm.ADDRESS])
    warm.stop(prepared)
    assert has_ended(copy)
    assert process.wait(20) != 0
    assert not os.path.exists(folder)


def test_without_such_a_process_the_module_runs_by_itself(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "says.py").write_text(SAYS)
    monkeypatch.setenv(warm.ADDRESS, str(tmp_path / "nobody"))
    assert run()[:2] == (3, f"{['a b', chr(39)]} {tmp_path} None __main__ False\n")


def test_the_modules_of_notebooks_are_listed_once(root):
    modules = warm.imported_by(sorted((root / "notebooks").glob("0*.ipynb")))
    assert len(modules) == len(set(modules))
    assert {"pandas", "torch", "numba", "dtreward.stats", "dtreward.judges.trees"} <= set(modules)
    assert "umap" not in modules  # notebook 07 tells numba not to compile before it imports umap
