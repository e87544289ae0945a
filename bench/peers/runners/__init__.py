"""One file a library; each runs in an environment of its own and knows nothing of pertcore."""
