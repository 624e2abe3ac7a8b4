"""Pickle one tree with the scikit-learn at hand, and what it predicts, for test_tree.py.

The files beside this script were made on Linux, Python 3.11, by one run in each of four virtual
environments, which hold
    scikit-learn==1.1.3 "numpy<2"    (counts as values; nodes of 56 bytes; numpy.core)
    scikit-learn==1.2.2 "numpy<2"
    scikit-learn==1.5.2 "numpy>=2"   (fractions as values; nodes of 64 bytes; numpy._core)
    scikit-learn==1.9.1 "numpy>=2"
as `python make.py`. The data are whole numbers from one seed; all four fit the same tree, bit for
bit, so that one expected.json serves them.
"""

import json
import pickle
from pathlib import Path

import numpy as np
import sklearn
from sklearn.tree import DecisionTreeClassifier

FOLDER = Path(__file__).parent


def main() -> None:
    random = np.random.RandomState(5)  # its stream is the same in every numpy
    differences = random.randint(-4, 5, size=(80, 5))
    noise = random.randint(-3, 4, size=80)
    preference = (2 * differences[:, 0] + differences[:, 1] + 2 * noise > 0).astype(np.int64)
    model = DecisionTreeClassifier(criterion="log_loss", max_depth=3, random_state=0)
    model.fit(differences, preference)
    version = sklearn.__version__
    for protocol in range(2, 6):
        data = pickle.dumps(model, protocol=protocol)
        (FOLDER / f"sklearn-{version}-protocol-{protocol}.pkl").write_bytes(data)
    expected = {
        "differences": differences.tolist(),
        "probability": model.predict_proba(differences)[:, 1].tolist(),
        "leaf": model.apply(differences).tolist(),
    }
    text = json.dumps(expected) + "\n"
    if (FOLDER / "expected.json").exists():
        assert (FOLDER / "expected.json").read_text() == text, "the versions fit different trees"
    (FOLDER / "expected.json").write_text(text)


if __name__ == "__main__":
    main()
