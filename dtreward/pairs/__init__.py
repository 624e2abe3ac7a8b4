"""From tables, hub data sets and public formats to one validated frame of pairs.

The room reads a source, drops and counts what cannot be used, and splits the rest by prompt. It
also describes and draws the ratings and preferences of pairs.

- `columns`: the names of columns, and the check that they are there
- `readers`: one table from a file, or from a folder of Parquet or Arrow files
- `numbers`: what a column holds: numbers, what can be read as numbers, or something else
- `formats`: HelpSteer2, and tables with one response a row, as tables of pairs
- `cells`: conversations as cells of a table hold them
- `form`: what a form of preference data is
- `data_sets`: single public data sets that come in a form of their own
- `forms`: the public forms of preference data, and how each becomes pairs
- `annotated_pairs`: the JSON of Inverse Constitutional AI and Feedback Forensics, read and written
- `text_attributes`: attributes measured from the text, where nobody rated
- `attributes`: which columns of a table are ratings, and why the others are not
- `identity`: what makes two rows the same prompt, the same pair, the same vote
- `subsets`: pairs from several sets that came about in different ways, and one set of them
- `clean`: drop votes on pairs that cannot be used, and count them by reason
- `split`: cut validation and test from the training prompts
- `frame`: `load_pairs`, and what every notebook takes from its frame
- `votes`: what several votes on a pair say together, and how far they agree
- `summary`: tables that describe ratings and preferences
- `figure`: their figures, one panel an attribute
"""

from dtreward.pairs.frame import (
    Pairs,
    attributes_of,
    differences,
    load_pairs,
    response_index,
    responses,
)

__all__ = ["Pairs", "attributes_of", "differences", "load_pairs", "response_index", "responses"]
