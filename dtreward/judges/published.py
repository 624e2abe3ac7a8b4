"""What the published judges look at, and how that goes with their consistency.

The numbers were read off figures of the blog post (`dtreward/published/README.md`): importances with
two digits, without the trees behind them and without intervals.
"""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from dtreward.figures import attribute_colours, colour, label_rows, panels
from dtreward.published import PUBLISHED
from dtreward.stats import holm, spearman_interval

ROW = 0.155  # inches, height of a judge's row
OTHERS = ("judge", "family", "consistency")  # columns that are no attribute


def published_judges() -> pd.DataFrame:
    """Read the published importances and consistencies, a row a judge.

    Returns:
        family, consistency (0 to 1; nan where none was published, as for people), and the importance
        of each of five attributes in the judge's tree; 29 judges, people among them.

    Example:
        >>> judges = published_judges()
        >>> len(judges), judges.loc["GPT-4o", "family"], judges["helpfulness"].max().item()
        (29, 'GPT', 0.98)
    """
    importances = pd.read_csv(PUBLISHED / "importances.csv", index_col="judge")
    consistency = pd.read_csv(PUBLISHED / "consistency.csv", index_col="judge")["consistency_pct"]
    importances.insert(0, "family", importances.index.str.split("-").str[0])
    importances.insert(1, "consistency", (consistency / 100).reindex(importances.index))
    return importances


def led_by(judges: pd.DataFrame) -> str:
    """Say what the judges' trees look at most, and at what they look least.

    Args:
        judges: as `published_judges` gives them.

    Example:
        >>> led_by(published_judges().head(2)).split(". ")[0]
        'The most important attribute is helpfulness for 2 of 2 judges'
    """
    importance = judges[judges.columns.difference(OTHERS, sort=False)]
    leads = importance.idxmax(axis=1).value_counts()
    named = " and ".join(f"{name} for {count}" for name, count in leads.items())
    least = importance.mean().nsmallest(2)
    means = " and ".join(f"{name} ({mean:.2f})" for name, mean in least.items())
    return (
        f"The most important attribute is {named} of {len(judges)} judges. On average, {means} have "
        "the smallest importances."
    )


def consistency_correlations(judges: pd.DataFrame, **options: int) -> pd.DataFrame:
    """Correlate the ranks of judges by consistency with those by the importance of each attribute.

    Importances of a judge sum to one, so that the correlations depend on each other. Judges of one
    family are alike: intervals are given for resampled judges, as if each were a case of its own,
    and for resampled families, which are the safer ones.

    Args:
        judges: as `published_judges` gives them; those without a consistency are left out.
        options: `resamples` and `seed` of the bootstrap.

    Returns:
        A row an attribute: judges (their number), families, spearman, low and high (over judges),
        family_low and family_high, p (of no correlation, judges taken as independent) and p_holm
        (corrected for the number of attributes).

    Example:
        >>> table = consistency_correlations(published_judges(), resamples=200)
        >>> table["spearman"].round(2).to_dict()["helpfulness"]
        0.55
    """
    known = judges.dropna(subset="consistency")
    consistency = known["consistency"].to_numpy()
    rows = {}
    for attribute in known.columns.difference(OTHERS, sort=False):
        importance = known[attribute].to_numpy()
        over_judges = spearman_interval(importance, consistency, known.index, **options)
        over_families = spearman_interval(importance, consistency, known["family"], **options)
        rows[attribute] = {
            "judges": len(known),
            "families": known["family"].nunique(),
            "spearman": over_judges.estimate,
            "low": over_judges.low,
            "high": over_judges.high,
            "family_low": over_families.low,
            "family_high": over_families.high,
            "p": float(spearmanr(importance, consistency).pvalue),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("attribute")
    return table.assign(p_holm=holm(table["p"]))


def draw_published_importances(judges: pd.DataFrame) -> Figure:
    """Draw importances as a matrix, and beside it the consistency of each judge.

    Judges are sorted by the first attribute; a judge's name and dot have its family's colour.

    Args:
        judges: as `published_judges` gives them.
    """
    attributes = list(judges.columns.difference(OTHERS, sort=False))
    in_order = judges.sort_values(attributes[0], ascending=False, kind="stable")
    figure, axes = panels(2, 0.9 + ROW * len(in_order), sharex=False, sharey=False)
    figure.get_layout_engine().set(w_pad=0.02)
    axes[0].get_gridspec().set_width_ratios([2, 1])
    style = {"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "yticklabels": True}
    style |= {"annot": True, "fmt": ".2f", "annot_kws": {"size": 6}}
    sns.heatmap(in_order[attributes], ax=axes[0], **style)
    axes[0].set(title="importance in the judge's tree", xlabel="", ylabel="")
    axes[0].tick_params(length=0, labelsize=7)
    axes[0].tick_params(axis="x", rotation=0)
    for label in axes[0].get_yticklabels():
        label.set_color(colour(label.get_text()))
    _draw_consistency(axes[1], in_order)
    return figure


def _draw_consistency(axis: Axes, judges: pd.DataFrame) -> None:
    rows = [row + 0.5 for row in range(len(judges))]
    hues = [colour(judge) for judge in judges.index]
    axis.hlines(rows, 0, judges["consistency"], color="0.85", lw=0.7, zorder=0)
    axis.scatter(judges["consistency"], rows, c=hues, s=14)
    axis.set(xlim=(0, 1), ylim=(len(judges), 0), yticks=[], title="consistency")
    axis.set_xlabel("share of pairs")


def draw_consistency_by_importance(judges: pd.DataFrame, correlations: pd.DataFrame) -> Figure:
    """Draw each judge's consistency against the importance of an attribute, a panel an attribute.

    The title says Spearman's correlation with its interval over families.

    Args:
        judges: as `published_judges` gives them.
        correlations: as `consistency_correlations` gives them.
    """
    figure, axes = panels(len(correlations), 2.2, sharex=False)
    hues = attribute_colours(list(correlations.index))
    for axis, (attribute, row) in zip(axes, correlations.iterrows(), strict=True):
        axis.scatter(judges[attribute], judges["consistency"], s=10, color=hues[attribute])
        interval = f"{row['spearman']:.2f} [{row['family_low']:.2f}, {row['family_high']:.2f}]"
        axis.set(title=f"{attribute}\n{interval}", xlabel="importance", ylim=(0, 1))
        axis.set_xlim(0, 1.08 * judges[attribute].max())
        axis.locator_params(axis="x", nbins=3)
    label_rows(axes, "consistency")
    return figure
