"""pertcore beside Foolbox, ART, torchattacks and adv-lib: `python -m bench.peers`."""
