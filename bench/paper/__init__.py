"""Networks and measurements of the paper's Section VI, made anew."""
