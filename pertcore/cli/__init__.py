"""The command line: parses, reports, exits; the work is done elsewhere."""
