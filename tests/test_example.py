"""The oracle that README shows is this repository's, and it keeps the protocol."""

from pathlib import Path

import numpy as np

from pertcore.testing import assert_oracle
from tests.example_oracle import Prototypes

FILE = Path(__file__).with_name("example_oracle.py")
README = Path(__file__).parents[1] / "README.md"


def test_readme_shows_the_file():
    blocks = README.read_text().split("```python\n")[1:]
    assert FILE.read_text() in [block.partition("```")[0] for block in blocks]


def test_it_is_short():
    code = FILE.read_text().partition("@dataclass")[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 30


def test_it_keeps_the_protocol():
    rng = np.random.default_rng(0)
    assert_oracle(Prototypes(rng.random((4, 6))), rng.random((5, 6)))
