"""Sentences about what sways judges, computed from the table of biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dtreward.judges.agreement import lie_above
from dtreward.judges.biases import favoured_position
from dtreward.stats import FEWEST_PROMPTS, Interval

MOST_NAMES = 6  # judges that a sentence names


def name_some(names: Sequence[str], total: int) -> str:
    """Write how many of the judges are named, and their names where they are few.

    >>> name_some(["I", "J"], 5), name_some([], 5), name_some(list("abcdefg"), 9)
    ('2 of 5 judges (I, J)', '0 of 5 judges', '7 of 9 judges')
    """
    listed = f" ({', '.join(names)})" if 0 < len(names) <= MOST_NAMES else ""
    return f"{len(names)} of {total} judges{listed}"


def measured_text(table: pd.DataFrame, judge: str, name: str) -> str:
    """Write one measure of one judge with its interval."""
    row = table.loc[judge]
    return str(Interval(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))))


def position_sentence(table: pd.DataFrame) -> str:
    """Say which position judges name when they contradict themselves.

    Args:
        table: as `biases.measure_biases` gives it.
    """
    favours = favoured_position(table, FEWEST_PROMPTS)
    total = len(table)
    if not (table["first_prompts"] >= FEWEST_PROMPTS).any():
        return (
            f"No judge contradicts itself on {FEWEST_PROMPTS} prompts: its position cannot be told."
        )
    first = list(favours.index[favours == "first"])
    second = list(favours.index[favours == "second"])
    untold = total - len(first) - len(second)
    sentence = (
        f"When they contradict themselves, {name_some(first, total)} name the response shown first "
        f"more often than the second, and {name_some(second, total)} do the opposite"
    )
    return sentence + (f"; {untold} of {total} cannot be told." if untold else ".")


def length_sentence(table: pd.DataFrame) -> str:
    """Say which judges are better where people prefer the longer response.

    Args:
        table: as `biases.measure_biases` gives it.
    """
    outcomes = lie_above(table, "length_effect", 0.0, table["length_effect_prompts"])
    better = [judge for judge, outcome in outcomes.items() if outcome]
    worse = [judge for judge, outcome in outcomes.items() if outcome is False]
    if all(outcome is None for outcome in outcomes.values()):
        return (
            f"Of {len(table)} judges none is told to be better or worse where people prefer the "
            "longer response."
        )
    most = table.loc[better or worse, "length_effect"].abs().idxmax()
    return (
        f"{name_some(better, len(table))} name what people prefer more often where it is the longer "
        f"response, and {name_some(worse, len(table))} less often; the effect is largest for "
        f"{most}, {measured_text(table, most, 'length_effect')}, where a coin and people have 0."
    )


def beyond_sentence(table: pd.DataFrame) -> str:
    """Say which judges agree with people beyond length.

    Args:
        table: as `biases.measure_biases` gives it.
    """
    outcomes = lie_above(table, "beyond_length", 0.0, table["beyond_length_prompts"])
    above = [judge for judge, outcome in outcomes.items() if outcome]
    told = table[table["beyond_length_prompts"] >= FEWEST_PROMPTS]
    if told["beyond_length"].isna().all():
        return (
            f"Without {FEWEST_PROMPTS} prompts of both kinds, agreement beyond length cannot be "
            "measured."
        )
    most = told["beyond_length"].idxmax()
    return (
        f"Beyond length, {name_some(above, len(table))} agree with people better than a coin does; "
        f"{most} agrees most, {measured_text(table, most, 'beyond_length')}."
    )


def summarise_subsets(table: pd.DataFrame) -> pd.DataFrame:
    """Count, for each set of pairs, the judges that are told to be swayed.

    Args:
        table: as `biases.biases_by_subset` gives it.

    Returns:
        A row a set: judges, and how many name the first position, name the second, are better where
        people prefer the longer response, are worse there, agree with people beyond length.
    """
    rows = {}
    for subset, part in table.groupby("subset", sort=False):
        own = part.set_index("judge")
        favours = favoured_position(own, FEWEST_PROMPTS)
        effect = lie_above(own, "length_effect", 0.0, own["length_effect_prompts"])
        beyond = lie_above(own, "beyond_length", 0.0, own["beyond_length_prompts"])
        rows[subset] = {
            "judges": len(own),
            "least consistent": own["consistency"].min(),
            "most consistent": own["consistency"].max(),
            "name the first": int((favours == "first").sum()),
            "name the second": int((favours == "second").sum()),
            "better where longer": list(effect.values()).count(True),
            "worse where longer": list(effect.values()).count(False),
            "agree beyond length": list(beyond.values()).count(True),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("set of pairs")


def family_sentence(changes: pd.DataFrame) -> str:
    """Say how often two judges of one family are told apart on the same pairs.

    Args:
        changes: as `family.compare_in_families` gives it, not empty.
    """
    words = {"right": "how often they name what people prefer", "consistent": "their consistency"}
    texts = []
    for measure, part in changes.groupby("measure", sort=False):
        tested = part[part["p"].notna()]
        texts.append(f"{(tested['p'] < 0.05).sum()} of {len(tested)} by {words[measure]}")
    told = changes[changes["p"] < 0.05]
    sentence = f"Of the couples of judges of one family, {' and '.join(texts)} are told apart."
    if len(told):
        most = told.loc[told["difference"].abs().idxmax()]
        ends = Interval(most["difference"], most["difference_low"], most["difference_high"])
        noun = {"right": "accuracy", "consistent": "consistency"}[most["measure"]]
        sentence += f" The largest difference is that of {most['other']} to {most['judge']}: "
        sentence += f"{ends} in {noun}."
    return sentence


def kept_sentence(table: pd.DataFrame) -> str:
    """Say whether the pairs on which judges contradict themselves are like the others.

    Args:
        table: as `kept.compare_kept` gives it.
    """
    texts = []
    for measure, part in table.groupby("measure", sort=False):
        tested = part[part["p"].notna()]
        told = tested[tested["p"] < 0.05]
        higher = int((told["difference"] > 0).sum())
        text = f"for {len(told)} of {len(tested)} judges by *{measure}*"
        texts.append(text + (f" (higher on the kept pairs for {higher})" if len(told) else ""))
    sentence = f"Kept and dropped pairs are told apart {'; '.join(texts)}."
    judges = table["judge"].nunique()
    untested = judges - table.groupby("measure")["p"].count().max()
    if untested:
        sentence += (
            f" {untested} of {judges} judges have fewer than {FEWEST_PROMPTS} prompts of one "
        )
        sentence += "kind, and cannot be told."
    return sentence


def finding_for_readme(
    table: pd.DataFrame, *, pairs: int, subset: str, selection: str
) -> dict[str, object]:
    """Give what may be said of judges outside their notebook: sentences, and the numbers in them.

    Args:
        table: as `biases.measure_biases` gives it, of the pairs of one set.
        pairs: how many pairs that are.
        subset: the name of the set; "" where the pairs are of one.
        selection: how its pairs came about; "" where nobody knows.

    Example:
        >>> from dtreward.judges.biases import measure_biases
        >>> row = {"judge": "J", "family": "F", "consistent": 1.0, "right": 1.0}
        >>> answers = pd.DataFrame([row | {"pair": n, "prompt_id": n} for n in range(30)])
        >>> answers = answers.assign(first=float("nan"), is_longer=[0.0, 1.0] * 15)
        >>> table = measure_biases(answers.assign(takes_longer=0.5))
        >>> finding = finding_for_readme(table, pairs=30, subset="Natural", selection="constructed")
        >>> finding["sentence"][:41]
        'On the 30 pairs of Natural (constructed):'
    """
    where = f"On the {pairs:,} pairs"
    if subset:
        where += f" of {subset}"
    if selection:
        where += f" ({selection})"
    favours = favoured_position(table, FEWEST_PROMPTS)
    outcomes = lie_above(table, "length_effect", 0.0, table["length_effect_prompts"])
    numbers = {
        "judges": len(table),
        "pairs": pairs,
        "favour_first": int((favours == "first").sum()),
        "favour_second": int((favours == "second").sum()),
        "longer_better": list(outcomes.values()).count(True),
        "longer_worse": list(outcomes.values()).count(False),
        "largest_length_effect": _largest(table, "length_effect"),
        "most_consistent": _largest(table, "consistency"),
    }
    sentence = f"{where}: {_lower(position_sentence(table))} {length_sentence(table)}"
    return {"sentence": sentence, "subset": subset, "selection": selection, "numbers": numbers}


def _largest(table: pd.DataFrame, name: str) -> Mapping[str, object] | None:
    """Name the judge with the largest value of those that can be told, and give its interval."""
    told = table[table[f"{name}_prompts"] >= FEWEST_PROMPTS]
    if told[name].isna().all():
        return None
    judge = told[name].idxmax()
    ends = [float(table.loc[judge, f"{name}{end}"]) for end in ("", "_low", "_high")]
    return {"judge": judge} | Interval(*ends).as_dict()


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
