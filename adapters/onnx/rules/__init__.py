"""One file a family of operators; a rule reads like its formula."""
