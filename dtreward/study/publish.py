"""Copy what a study has made to the places where it is committed."""

import filecmp
import shutil
from pathlib import Path

from dtreward.study.readme import refresh
from dtreward.study.settings import NOTEBOOKS, plain_name


def publish(study, root=Path(".")):
    """Copy a study's executed notebooks and figures, and the demo's model, and print what changed."""
    copies = _copies(plain_name(study), root)
    changed = [target for source, target in copies.items() if _copy(source, target)]
    page = root / "docs" / "demo-results.md"
    if refresh(page):
        changed.append(page)
    print(f"{len(changed)} of {len(copies)} files were new or changed")
    print(*(f"  {target.relative_to(root)}" for target in changed), sep="\n")


def _copies(study, root):
    """Give where each file of a study is copied to: {source: target}."""
    made = root / "data" / study
    figures = root / "figures" / study
    copies = {}
    for path in executed_notebooks(made):
        copies[path] = root / NOTEBOOKS / "executed" / study / path.name
    for path in (made / "figures").iterdir():
        copies[path] = figures / path.name
    for path in (made / "paper").glob("*"):
        copies[path] = figures / "paper" / path.name
    if study == "demo":
        for path in (made / "checkpoint").glob("[!.]*"):
            copies[path] = made / path.name
    return copies


def executed_notebooks(folder):
    """List a study's finished notebooks in order."""
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    return [path for path in paths if ".partial" not in path.name]


def _copy(source, target):
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return True
