"""A key that judges need stands in no file that a study leaves, and in nothing that it prints."""

import json
import subprocess
import sys

from conftest import snakemake
from judge_server import endpoint, says

SECRET = "sk-planted-7f3a9c51e2b84d06"


def test_a_planted_key_is_found_nowhere_after_a_study_and_its_report(workshop, monkeypatch):
    """The endpoint demands the key, and repeats it in answers, in errors and where it refuses."""
    came = []

    def reply(body, headers):
        came.append(headers["Authorization"])
        number = len(came)
        if number == 1:
            return 401, {}, f"wrong key {SECRET}"
        if number % 7 == 0:
            return 500, {"X-Echo": SECRET}, f"failed for {headers['Authorization']}"
        return says(f"{'AB'[number % 2]}. You sent {SECRET}.")

    with endpoint(reply) as (url, _):
        judge = {"name": "Keyed", "model": "m", "endpoint": url, "key_variable": "STUDY_KEY"}
        parameters = {"study": "keyed", "source": "demo", "limit": 30, "seed": 0, "resamples": 100}
        plan = {
            "notebooks": ["01_load_pairs", "06_collect_judge_preferences"],
            "parameters": parameters,
        }
        own = {"judges_source": "endpoints", "judges": [judge], "judged": 10}
        plan["06_collect_judge_preferences"] = own
        (workshop / "notebooks" / "studies" / "keyed.yaml").write_text(json.dumps(plan))
        monkeypatch.setenv("STUDY_KEY", SECRET)
        done = snakemake(workshop, "study=keyed", options=["--printshellcmds"])
        monkeypatch.setenv(
            "STUDY_KEY", f"{SECRET} \n{SECRET}"
        )  # cannot be one; the error must not repeat it
        refused = snakemake(workshop, "study=keyed", "seed=1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(came) == {f"Bearer {SECRET}"} and len(came) > 20  # positive control: it was sent
    assert refused.returncode != 0 and "STUDY_KEY" in refused.stderr
    report = subprocess.run(
        [sys.executable, "-m", "dtreward.cli", "report", "keyed"],
        cwd=workshop, capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = "".join(each.stdout + each.stderr for each in (done, refused, report))
    files = [path for path in workshop.rglob("*") if path.is_file()]
    assert (workshop / "data" / "keyed" / "report" / "index.html") in files
    assert any(".snakemake/log" in str(path) for path in files)
    assert b"[key]" in b"".join(
        (workshop / "data" / "keyed").joinpath(n).read_bytes() for n in ("judges.sqlite",)
    )
    for part in (SECRET, SECRET[:14]):
        assert part not in printed
        assert not [str(path) for path in files if part.encode() in path.read_bytes()]
