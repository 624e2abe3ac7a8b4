"""The numbers that the study's authors published, as data of the package.

`README.md` beside the files says where each number comes from.
"""

from pathlib import Path

PUBLISHED = Path(__file__).parent
