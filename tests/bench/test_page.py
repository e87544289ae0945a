"""docs/benchmarks.md says what bench/results holds."""

from bench.page import PAGE, page


def test_the_page_is_made_from_the_results():
    assert PAGE.read_text() == page(), "python -m bench.page writes it"
