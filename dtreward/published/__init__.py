"""The numbers that the study's authors published, as data of the package.

Each file is a table or a JSON document; `README.md` beside them says where each number comes from.
"""

from pathlib import Path

PUBLISHED = Path(__file__).parent
