"""Topical-Chat responses that people rated (USR), in the JSON that UniEval publishes."""

from __future__ import annotations

import pandas as pd

from dtreward.pairs.form import Form, Formed, Reading

OVERALL = "overall"
FACT = "Fact: "  # the line of a prompt that holds the knowledge the speaker was given


def read_usr(table: pd.DataFrame, reading: Reading) -> Formed:
    """Make one rated response a row; the overall rating orders the responses to one prompt.

    The prompt is the dialogue so far, with the fact that the speaker was given as its last line.

    Source: Mehri and Eskenazi (2020), USR: An Unsupervised and Reference Free Evaluation Metric for
    Dialog Generation; UniEval, reproduce/data/dialogue/topical_chat.json.

    Example:
        >>> from collections import Counter
        >>> import numpy as np
        >>> row = {"source": "hi . ", "context": "owls fly .", "system_output": "hello !"}
        >>> row |= {"system_id": "A", "scores": {"coherence": 3.0, "overall": 5.0}}
        >>> reading = Reading(np.random.default_rng(0), Counter(), "")
        >>> formed = read_usr(pd.DataFrame([row]), reading)
        >>> formed.table["prompt"][0], formed.order_by
        ('hi .\\nFact: owls fly .', 'overall')
    """
    dialogue = table["source"].str.strip()
    fact = table["context"].str.strip()
    responses = pd.DataFrame(
        {
            "prompt": dialogue + "\n" + FACT + fact,
            "response": table["system_output"].str.strip(),
            "system": table["system_id"],
        }
    )
    scores = pd.DataFrame(table["scores"].tolist(), table.index)
    rated = responses.join(scores)
    return Formed(rated, FORM.name, reading.order_by or OVERALL, rated_by="people")


FORM = Form(
    "usr",
    "USR's dialogue ratings as UniEval publishes them: a response and its scores a row",
    (("source", "context", "system_output", "scores"),),
    read_usr,
)
